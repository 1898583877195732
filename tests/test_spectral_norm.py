"""Spectral norm against numpy's singular value decomposition."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.models.spectral_norm import SpectralNorm, as_matrix, converged_stats, largest_sigma

KERNELS = {"dense": (12, 30), "conv": (3, 3, 6, 8), "narrow": (20, 1)}


def random_kernel(shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def exact_sigma(kernel):
    return np.linalg.svd(np.asarray(as_matrix(kernel), np.float64), compute_uv=False)[0]


def iterate(kernel, times):
    module = SpectralNorm()
    variables = module.init(jax.random.key(1), kernel)
    for _ in range(times):
        normalized, variables = module.apply(variables, kernel, mutable=["spectral_stats"])
    return normalized, variables["spectral_stats"]


@pytest.mark.parametrize("shape", KERNELS.values(), ids=KERNELS)
def test_iterations_converge_to_the_largest_singular_value(shape):
    kernel = random_kernel(shape)
    normalized, stats = iterate(kernel, 200)
    np.testing.assert_allclose(stats["sigma"], exact_sigma(kernel), rtol=1e-4)
    np.testing.assert_allclose(exact_sigma(normalized), 1.0, rtol=1e-4)


def test_one_call_is_one_step_of_the_power_iteration():
    kernel = random_kernel(KERNELS["conv"])
    _, before = iterate(kernel, 3)
    _, after = iterate(kernel, 4)
    matrix, u = np.asarray(as_matrix(kernel), np.float64), np.asarray(before["u"], np.float64)
    v = matrix @ u / np.linalg.norm(matrix @ u)
    expected = v @ matrix / np.linalg.norm(v @ matrix)
    np.testing.assert_allclose(after["u"], expected, atol=1e-5)
    np.testing.assert_allclose(after["sigma"], v @ matrix @ expected, rtol=1e-5)


def test_immutable_stats_are_used_as_they_are():
    kernel = random_kernel(KERNELS["conv"])
    _, stats = iterate(kernel, 200)
    module = SpectralNorm()
    once = module.apply({"spectral_stats": stats}, kernel)
    np.testing.assert_array_equal(once, module.apply({"spectral_stats": stats}, kernel))
    np.testing.assert_allclose(once, kernel / stats["sigma"], rtol=1e-5)


def test_gradient_is_that_of_the_true_singular_value():
    kernel = random_kernel(KERNELS["dense"])
    _, stats = iterate(kernel, 300)
    weights = random_kernel(KERNELS["dense"], seed=5)

    def through_module(kernel):
        return jnp.sum(weights * SpectralNorm().apply({"spectral_stats": stats}, kernel))

    def through_svd(kernel):
        return jnp.sum(weights * kernel / jnp.linalg.svd(kernel, compute_uv=False)[0])

    np.testing.assert_allclose(jax.grad(through_module)(kernel), jax.grad(through_svd)(kernel), atol=1e-4)


@pytest.mark.parametrize("shape", KERNELS.values(), ids=KERNELS)
def test_converged_stats_are_exact_without_iterating(shape):
    kernel = random_kernel(shape)
    params = {"block": {"conv": {"kernel": kernel, "bias": jnp.zeros(shape[-1])}}}
    stats = {"block": {"conv": {"spectral_norm": {"u": jnp.zeros(shape[-1]), "sigma": jnp.zeros(())}}}}
    layer = converged_stats(params, stats)["block"]["conv"]["spectral_norm"]
    np.testing.assert_allclose(layer["sigma"], exact_sigma(kernel), rtol=1e-5)
    leading = np.linalg.svd(as_matrix(kernel))[2][0]
    np.testing.assert_allclose(abs(layer["u"] @ leading), 1.0, atol=1e-4)


def test_largest_sigma_is_over_all_layers():
    flat = {("a", "spectral_norm", "sigma"): jnp.float32(2), ("b", "spectral_norm", "sigma"): jnp.float32(3)}
    flat["a", "spectral_norm", "u"] = jnp.full(4, 9.0)
    assert largest_sigma(flax.traverse_util.unflatten_dict(flat)) == 3
