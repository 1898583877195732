"""Batch norm: moments, running averages, conditions, groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.models.conditional_norm import BatchNorm
from sagan_jax.models.layers import LayerConfig

pytestmark = pytest.mark.usefixtures("strict_dtypes")

X = jax.random.normal(jax.random.key(0), (6, 4, 4, 5)) * 3 + 1


LABELS = jnp.array([0, 1, 2, 0, 1, 2])


def test_batch_norm_uses_the_moments_of_the_batch():
    module = BatchNorm(LayerConfig(batch_norm_momentum=0.9))
    variables = module.init(jax.random.key(0), X, train=True)
    y, updated = module.apply(variables, X, train=True, mutable=["batch_stats"])
    x = np.asarray(X, np.float64)
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), atol=1e-5)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 + 0.1 * var, rtol=1e-4)


@pytest.mark.parametrize(("mean", "std"), [(0, 1), (100, 0.1), (1000, 0.1), (-1000, 10)])
def test_batch_norm_of_numbers_far_from_zero(mean, std):
    x = jnp.float32(mean + std * np.random.default_rng(0).normal(size=(16, 8, 8, 3)))
    module = BatchNorm(LayerConfig())
    y = module.apply(module.init(jax.random.key(0), x, train=True), x, train=True)
    exact = np.float64(x)
    expected = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + 1e-5)
    # Of numbers around 1000 float32 knows 6e-5, here 6e-4 standard deviations; factor and offset double it.
    np.testing.assert_allclose(y, expected, atol=1e-5 + 2e-7 * abs(mean) / std)


def test_batch_norm_uses_running_averages_outside_training():
    module = BatchNorm(LayerConfig())
    variables = module.init(jax.random.key(0), X, train=True)
    stats = {"mean": jnp.arange(5.0), "var": jnp.arange(1.0, 6.0)}
    y = module.apply(variables | {"batch_stats": stats}, X, train=False)
    mean, var = map(np.asarray, (stats["mean"], stats["var"]))
    np.testing.assert_allclose(y, (np.asarray(X) - mean) / np.sqrt(var + 1e-5), atol=1e-5)


def test_conditional_batch_norm_has_a_gain_and_a_bias_per_class():
    module = BatchNorm(LayerConfig(), num_classes=3)
    variables = module.init(jax.random.key(0), X, LABELS, train=True)
    assert (variables["params"]["scale"] == 1).all()
    assert (variables["params"]["bias"] == 0).all()
    plain = np.asarray(module.apply(variables, X, LABELS, train=True))
    table = np.asarray(jax.random.normal(jax.random.key(3), (2, 3, 5)))
    y = module.apply(variables | {"params": {"scale": table[0], "bias": table[1]}}, X, LABELS, train=True)
    for i, label in enumerate(LABELS):
        np.testing.assert_allclose(y[i], plain[i] * table[0, label] + table[1, label], atol=1e-4)


def test_grouped_moments_are_those_of_each_group_alone():
    module = BatchNorm(LayerConfig(ghost_batches=2))
    variables = module.init(jax.random.key(0), X, train=True)
    y = module.apply(variables, X, train=True)
    alone = BatchNorm(LayerConfig())
    for group in (0, 1):
        np.testing.assert_allclose(y[group::2], alone.apply(variables, X[group::2], train=True), atol=1e-5)
