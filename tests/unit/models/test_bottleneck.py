"""Bottleneck stages against their definition, and networks made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import applied, initialised

from sagan_jax.models.blocks import BLOCKS
from sagan_jax.models.bottleneck import (
    BottleneckDiscriminatorStage,
    BottleneckGeneratorStage,
    DiscriminatorBottleneck,
    GeneratorBottleneck,
)
from sagan_jax.models.conditional_norm import BatchNorm
from sagan_jax.models.discriminator import build_discriminator
from sagan_jax.models.generator import build_generator
from sagan_jax.models.layers import Conv, LayerConfig
from sagan_jax.ops.resampling import mean_pool, upsample

pytestmark = pytest.mark.usefixtures("strict_dtypes")

CONFIG = LayerConfig(spectral_norm=())
X = jax.random.normal(jax.random.key(0), (4, 4, 4, 8))
LABELS = jnp.array([0, 1, 2, 0])


def conv(params, name, x):
    kernel = params[name]["kernel"]
    return Conv(kernel.shape[-1], kernel.shape[0], CONFIG).apply({"params": params[name]}, x)


@pytest.mark.parametrize(("features", "doubled"), [(8, False), (6, True), (12, True)])
def test_generator_block(features, doubled):
    block = GeneratorBottleneck(features, 3, CONFIG, upsample=doubled)
    variables = initialised(block, jax.random.key(1), X, LABELS, train=True)
    params = variables["params"]
    resize = upsample if doubled else (lambda x: x)

    def norm(name, x):
        layer = {kind: tree[name] for kind, tree in variables.items()}
        return jax.nn.relu(BatchNorm(CONFIG, 3).apply(layer, x, LABELS, train=True))

    h = conv(params, "conv_0", norm("norm_0", X))
    assert h.shape[-1] == 2
    h = conv(params, "conv_1", resize(norm("norm_1", h)))
    h = conv(params, "conv_3", norm("norm_3", conv(params, "conv_2", norm("norm_2", h))))
    shortcut = X[..., :features]
    if features > 8:
        shortcut = jnp.concatenate([X, conv(params, "shortcut", X)], axis=-1)
    found = applied(block, variables, X, LABELS, train=True)
    np.testing.assert_allclose(found, h + resize(shortcut), atol=1e-4)
    assert ("shortcut" in params) == (features > 8)


@pytest.mark.parametrize(("features", "halved"), [(8, False), (16, True)])
def test_discriminator_block(features, halved):
    block = DiscriminatorBottleneck(features, CONFIG, downsample=halved)
    variables = initialised(block, jax.random.key(1), X)
    params = variables["params"]
    resize = mean_pool if halved else (lambda x: x)
    h = X
    for index in range(3):
        h = conv(params, f"conv_{index}", jax.nn.relu(h))
    h = conv(params, "conv_3", resize(jax.nn.relu(h)))
    shortcut = resize(X)
    if features > 8:
        shortcut = jnp.concatenate([shortcut, conv(params, "shortcut", shortcut)], axis=-1)
    np.testing.assert_allclose(applied(block, variables, X), h + shortcut, atol=1e-4)


def test_a_stage_is_two_blocks():
    stage = BottleneckGeneratorStage(6, 3, CONFIG)
    variables = initialised(stage, jax.random.key(1), X, LABELS, train=True)

    def part(name):
        return {kind: tree[name] for kind, tree in variables.items()}

    h = GeneratorBottleneck(8, 3, CONFIG).apply(part("same"), X, LABELS, train=True)
    expected = GeneratorBottleneck(6, 3, CONFIG, upsample=True).apply(part("up"), h, LABELS, train=True)
    np.testing.assert_allclose(applied(stage, variables, X, LABELS, train=True), expected, atol=1e-4)

    stage = BottleneckDiscriminatorStage(16, True, CONFIG)
    variables = initialised(stage, jax.random.key(1), X)
    h = DiscriminatorBottleneck(16, CONFIG, downsample=True).apply(part("down"), X)
    expected = DiscriminatorBottleneck(16, CONFIG).apply(part("same"), h)
    np.testing.assert_allclose(applied(stage, variables, X), expected, atol=1e-4)


@pytest.mark.parametrize("rematerialize", [False, True])
def test_networks_are_made_of_them(rematerialize):
    config = LayerConfig(rematerialize=rematerialize)
    size = {"num_classes": 3, "channels": 4, "attention_resolutions": (8,), "blocks": BLOCKS["bottleneck"]}
    generator, discriminator = (build(16, config=config, **size) for build in (build_generator, build_discriminator))
    variables = initialised(generator, jax.random.key(0), jnp.ones((4, 8)), LABELS, train=True)
    images = applied(generator, variables, jnp.ones((4, 8)), LABELS, train=True)
    assert images.shape == (4, 16, 16, 3)
    assert set(variables["params"]["block_16"]) == {"same", "up"}
    variables = initialised(discriminator, jax.random.key(0), images, LABELS)
    assert applied(discriminator, variables, images, LABELS).shape == (4,)
    assert set(variables["params"]["block_0"]) == {"conv", "stage"}
    assert set(variables["params"]["block_1"]) == {"down", "same"}
