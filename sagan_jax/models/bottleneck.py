"""Stages of two bottleneck blocks each, in place of the residual blocks: deeper networks with fewer weights.

3x3 convolutions work at a quarter of the width, and shortcuts have a convolution only where the width grows.

Reference: Brock et al. 2018 (arXiv:1809.11096), appendix B, BigGAN-deep.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sagan_jax.models.conditional_norm import BatchNorm, Condition
from sagan_jax.models.layers import Conv, LayerConfig
from sagan_jax.ops.convolution import conv2d
from sagan_jax.ops.resampling import mean_pool, upsample, upsample_conv2d

RATIO = 4  # of a block's width to that of its 3x3 convolutions


class BottleneckGeneratorStage(nn.Module):
    """A block that keeps side and width, then one that doubles the side; [B, H, W, C] -> [B, 2H, 2W, features]."""

    features: int
    num_classes: int
    config: LayerConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], condition: Condition, train: bool
    ) -> Float[Array, "batch 2*height 2*width {self.features}"]:
        x = GeneratorBottleneck(x.shape[-1], self.num_classes, self.config, name="same")(x, condition, train)
        block = GeneratorBottleneck(self.features, self.num_classes, self.config, upsample=True, name="up")
        return block(x, condition, train)


class GeneratorBottleneck(nn.Module):
    """BN, ReLU, 1x1, BN, ReLU, 3x3, BN, ReLU, 3x3, BN, ReLU, 1x1, plus a shortcut, the side doubled if `upsample`."""

    features: int
    num_classes: int
    config: LayerConfig
    upsample: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], condition: Condition, train: bool
    ) -> Float[Array, "batch _ _ {self.features}"]:
        config, narrow = self.config, max(1, x.shape[-1] // RATIO)
        convolutions = (
            Conv(narrow, 1, config, name="conv_0"),
            Conv(narrow, 3, config, upsample_conv2d if self.upsample else conv2d, name="conv_1"),
            Conv(narrow, 3, config, name="conv_2"),
            Conv(self.features, 1, config, name="conv_3"),
        )
        shortcut = with_channels(x, self.features, config)
        for index, convolution in enumerate(convolutions):
            norm = BatchNorm(config, self.num_classes, name=f"norm_{index}")
            x = convolution(nn.relu(norm(x, condition, train=train)))
        return x + (upsample(shortcut) if self.upsample else shortcut)


class BottleneckDiscriminatorStage(nn.Module):
    """A block that halves the side if `downsample`, then one that keeps it; [B, H, W, C] -> [.., features].

    `inplace_relu` is of imported weights only, and none are of such networks.
    """

    features: int
    downsample: bool
    config: LayerConfig
    inplace_relu: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"]) -> Float[Array, "batch _ _ {self.features}"]:
        x = DiscriminatorBottleneck(self.features, self.config, self.downsample, name="down")(x)
        return DiscriminatorBottleneck(self.features, self.config, name="same")(x)


class DiscriminatorBottleneck(nn.Module):
    """ReLU, 1x1, ReLU, 3x3, ReLU, 3x3, ReLU, halved if `downsample`, 1x1, plus a shortcut."""

    features: int
    config: LayerConfig
    downsample: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"]) -> Float[Array, "batch _ _ {self.features}"]:
        config, narrow = self.config, max(1, self.features // RATIO)
        shortcut = with_channels(mean_pool(x) if self.downsample else x, self.features, config)
        for index, size in enumerate((1, 3, 3)):
            x = Conv(narrow, size, config, name=f"conv_{index}")(nn.relu(x))
        x = nn.relu(x)
        return Conv(self.features, 1, config, name="conv_3")(mean_pool(x) if self.downsample else x) + shortcut


class BottleneckStem(nn.Module):
    """On the image: 3x3 to half of the width, then a stage that halves the side."""

    features: int
    config: LayerConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height//2 width//2 {self.features}"]:
        x = Conv(max(1, self.features // 2), 3, self.config, name="conv")(x)
        return BottleneckDiscriminatorStage(self.features, True, self.config, name="stage")(x)


def with_channels(
    x: Float[Array, "batch height width channels"], features: int, config: LayerConfig
) -> Float[Array, "batch height width {features}"]:
    """Returns the first channels of x, and what is missing beyond them by a 1x1 convolution of the calling module."""
    missing = features - x.shape[-1]
    if missing <= 0:
        return x[..., :features]
    return jnp.concatenate([x, Conv(missing, 1, config, name="shortcut")(x)], axis=-1)
