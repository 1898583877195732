"""Spectral norm against numpy's singular value decomposition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.models import spectral_norm
from sagan_jax.models.spectral_norm import (
    as_matrix,
    initial_stats,
    largest_sigma,
    normalize_exactly,
    normalize_for_update,
    normalize_frozen,
)

SHAPES = {"dense": (12, 30), "conv": (3, 3, 6, 8), "narrow": (20, 1), "twin": (3, 3, 6, 8)}


def random_params(seed=0):
    keys = jax.random.split(jax.random.key(seed), len(SHAPES))
    return {
        name: {"kernel": jax.random.normal(key, shape), "bias": jnp.full(shape[-1], 3.0)}
        for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)
    }


def exact_sigma(kernel):
    return np.linalg.svd(np.asarray(as_matrix(kernel), np.float64), compute_uv=False)[0]


def iterated(params, times):
    stats = initial_stats(params, jax.random.key(1))
    for _ in range(times):
        normalized, stats = normalize_for_update(params, stats, 1e-12)
    return normalized, stats


@pytest.mark.parametrize("large", [2**20, 1], ids=["together", "one by one"])
def test_iterations_converge_to_the_largest_singular_value(monkeypatch, large):
    monkeypatch.setattr(spectral_norm, "LARGE", large)
    params = random_params()
    normalized, stats = iterated(params, 200)
    for name, layer in params.items():
        np.testing.assert_allclose(stats[name]["sigma"], exact_sigma(layer["kernel"]), rtol=1e-4)
        np.testing.assert_allclose(exact_sigma(normalized[name]["kernel"]), 1.0, rtol=1e-4)


def test_only_kernels_are_divided():
    params = random_params()
    for normalized in (
        iterated(params, 1)[0],
        normalize_exactly(params),
        normalize_frozen(params, iterated(params, 1)[1]),
    ):
        for name, layer in params.items():
            np.testing.assert_array_equal(normalized[name]["bias"], layer["bias"])
            assert normalized[name]["kernel"].shape == layer["kernel"].shape


def test_one_update_is_one_step_of_the_power_iteration():
    params = random_params()
    _, before = iterated(params, 3)
    _, after = iterated(params, 4)
    for name, layer in params.items():
        matrix = np.asarray(as_matrix(layer["kernel"]), np.float64)
        u = np.asarray(before[name]["u"], np.float64)
        v = matrix @ u / np.linalg.norm(matrix @ u)
        expected = v @ matrix / np.linalg.norm(v @ matrix)
        np.testing.assert_allclose(after[name]["u"], expected, atol=1e-5)
        np.testing.assert_allclose(after[name]["sigma"], v @ matrix @ expected, rtol=1e-5)


def test_frozen_weights_are_divided_by_the_length_of_their_product_with_u():
    params = random_params()
    _, stats = iterated(params, 3)
    normalized = normalize_frozen(params, stats)
    for name, layer in params.items():
        sigma = np.linalg.norm(np.asarray(as_matrix(layer["kernel"]), np.float64) @ stats[name]["u"])
        np.testing.assert_allclose(normalized[name]["kernel"], layer["kernel"] / sigma, rtol=1e-5)


def test_gradient_is_that_of_the_true_singular_value():
    params, weights = random_params(), random_params(seed=5)
    _, stats = iterated(params, 300)

    def product(normalized):
        return sum(jnp.sum(weights[name]["kernel"] * normalized[name]["kernel"]) for name in SHAPES)

    def through_svd(params):
        kernels = {name: layer["kernel"] for name, layer in params.items()}
        return product(
            {n: {"kernel": k / jnp.linalg.svd(as_matrix(k), compute_uv=False)[0]} for n, k in kernels.items()}
        )

    found = jax.grad(lambda params: product(normalize_for_update(params, stats, 1e-12)[0]))(params)
    expected = jax.grad(through_svd)(params)
    for name in SHAPES:
        np.testing.assert_allclose(found[name]["kernel"], expected[name]["kernel"], atol=1e-4)


def test_exact_normalisation_needs_no_iteration():
    params = random_params()
    for layer in normalize_exactly(params).values():
        np.testing.assert_allclose(exact_sigma(layer["kernel"]), 1.0, rtol=1e-5)


def test_largest_sigma_is_over_all_layers():
    layers = {name: {"sigma": jnp.float32(sigma), "u": jnp.full(4, 9.0)} for name, sigma in (("a", 2), ("b", 3))}
    assert largest_sigma(layers) == 3
