"""Residual blocks against their definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.models.blocks import DiscriminatorBlock, DiscriminatorStem, GeneratorBlock
from sagan_jax.models.conditional_norm import BatchNorm
from sagan_jax.models.layers import Conv, LayerConfig
from sagan_jax.ops.resampling import mean_pool, upsample

pytestmark = pytest.mark.usefixtures("strict_dtypes")

X = jax.random.normal(jax.random.key(0), (6, 4, 4, 5)) * 3 + 1


LABELS = jnp.array([0, 1, 2, 0, 1, 2])


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
