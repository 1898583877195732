"""Batch norm and residual blocks against numpy and their unfused forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.models.blocks import DiscriminatorBlock, DiscriminatorStem, GeneratorBlock
from sagan_jax.models.conditional_norm import BatchNorm
from sagan_jax.models.generator import build_generator
from sagan_jax.models.layers import Conv, LayerConfig
from sagan_jax.models.standing_statistics import batch_moments, standing_statistics
from sagan_jax.ops.resampling import mean_pool, upsample

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


def apply_conv(variables, name, x):
    layer = {kind: tree[name] for kind, tree in variables.items() if name in tree}
    kernel = layer["params"]["kernel"]
    return Conv(kernel.shape[-1], kernel.shape[0], LayerConfig()).apply(layer, x)


def with_random_biases(variables):
    def noise(path, x):
        key = jax.random.key(sum(map(ord, str(path))))
        return x + jax.random.normal(key, x.shape) * 0.3 if path[-1].key in ("bias", "scale") else x

    return variables | {"params": jax.tree_util.tree_map_with_path(noise, variables["params"])}


def test_discriminator_block_adds_the_shortcut_of_x_itself():
    block = DiscriminatorBlock(7, True, LayerConfig())
    variables = with_random_biases(block.init(jax.random.key(1), X))
    h = apply_conv(variables, "conv_0", jax.nn.relu(X))
    h = apply_conv(variables, "conv_1", jax.nn.relu(h))
    expected = mean_pool(h) + mean_pool(apply_conv(variables, "shortcut", X))
    np.testing.assert_allclose(block.apply(variables, X), expected, atol=1e-5)


def test_discriminator_block_without_change_of_shape_has_no_shortcut_weights():
    block = DiscriminatorBlock(5, False, LayerConfig())
    variables = block.init(jax.random.key(1), X)
    assert set(variables["params"]) == {"conv_0", "conv_1"}
    h = apply_conv(variables, "conv_0", jax.nn.relu(X))
    np.testing.assert_allclose(
        block.apply(variables, X), X + apply_conv(variables, "conv_1", jax.nn.relu(h)), atol=1e-5
    )


def test_stem_does_not_activate_the_image():
    stem = DiscriminatorStem(7, LayerConfig())
    variables = with_random_biases(stem.init(jax.random.key(1), X))
    h = apply_conv(variables, "conv_1", jax.nn.relu(apply_conv(variables, "conv_0", X)))
    expected = mean_pool(h) + mean_pool(apply_conv(variables, "shortcut", X))
    np.testing.assert_allclose(stem.apply(variables, X), expected, atol=1e-5)


def test_generator_block_shortcut_commutes_with_upsampling():
    block = GeneratorBlock(7, 3, LayerConfig())
    variables = with_random_biases(block.init(jax.random.key(1), X, LABELS, True))

    def norm(name, x):
        layer = {kind: tree[name] for kind, tree in variables.items() if name in tree}
        return jax.nn.relu(BatchNorm(LayerConfig(), 3).apply(layer, x, LABELS, train=True))

    h = apply_conv(variables, "conv_0", upsample(norm("norm_0", X)))
    h = apply_conv(variables, "conv_1", norm("norm_1", h))
    expected = h + apply_conv(variables, "shortcut", upsample(X))
    np.testing.assert_allclose(block.apply(variables, X, LABELS, True), expected, atol=1e-4)


def test_grouped_moments_are_those_of_each_group_alone():
    module = BatchNorm(LayerConfig(ghost_batches=2))
    variables = module.init(jax.random.key(0), X, train=True)
    y = module.apply(variables, X, train=True)
    alone = BatchNorm(LayerConfig())
    for group in (0, 1):
        np.testing.assert_allclose(y[group::2], alone.apply(variables, X[group::2], train=True), atol=1e-5)


def test_standing_statistics_are_those_of_one_large_batch():
    generator = build_generator(16, num_classes=3, channels=2, attention_resolutions=())
    latents = jax.random.normal(jax.random.key(0), (3, 4, 8))
    labels = jnp.zeros((3, 4), jnp.int32)
    variables = generator.init(jax.random.key(1), latents[0], labels[0], train=True)
    frozen = {name: variables[name] for name in ("params", "spectral_stats")}
    pooled = standing_statistics([batch_moments(generator, frozen, *b) for b in zip(latents, labels, strict=True)])
    # The first norm sees the same input whichever batch an image is in, so there pooling is exact.
    whole = batch_moments(generator, frozen, latents.reshape(12, 8), labels.reshape(12))
    for name in ("mean", "var"):
        np.testing.assert_allclose(
            pooled["block_8"]["norm_0"][name], whole["block_8"]["norm_0"][name], rtol=1e-4, atol=1e-6
        )
