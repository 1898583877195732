"""The residual blocks of both networks (Miyato & Koyama 2018, as in the authors' code).

The 1x1 convolution of each shortcut runs at the lower of the two resolutions: it
commutes with both kinds of resampling, so the result is the same at a quarter of
the work.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from sagan_jax.models.bottleneck import BottleneckDiscriminatorStage, BottleneckGeneratorStage, BottleneckStem
from sagan_jax.models.conditional_norm import BatchNorm, Condition
from sagan_jax.models.layers import Conv, LayerConfig
from sagan_jax.ops.convolution import conv2d
from sagan_jax.ops.resampling import conv2d_mean_pool, mean_pool, upsample, upsample_conv2d


class GeneratorBlock(nn.Module):
    """BN, ReLU, upsample, 3x3, BN, ReLU, 3x3, plus an upsampled 1x1 shortcut; [B, H, W, C] -> [B, 2H, 2W, features]."""

    features: int
    num_classes: int
    config: LayerConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], condition: Condition, train: bool
    ) -> Float[Array, "batch 2*height 2*width {self.features}"]:
        config = self.config
        shortcut = upsample(Conv(self.features, 1, config, name="shortcut")(x))
        x = nn.relu(BatchNorm(config, self.num_classes, name="norm_0")(x, condition, train=train))
        x = Conv(self.features, 3, config, upsample_conv2d, name="conv_0")(x)
        x = nn.relu(BatchNorm(config, self.num_classes, name="norm_1")(x, condition, train=train))
        x = Conv(self.features, 3, config, name="conv_1")(x)
        return x + shortcut


class DiscriminatorBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, plus a shortcut, both halved if `downsample`; [B, H, W, C] -> [.., features].

    The shortcut takes x itself, not ReLU(x): activating it in place is a known slip that
    costs FID. It has a 1x1 convolution wherever the shape changes.

    `inplace_relu` is that slip, for imported weights that were trained with it; our own training never does this.
    """

    features: int
    downsample: bool
    config: LayerConfig
    inplace_relu: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"]) -> Float[Array, "batch _ _ {self.features}"]:
        activated = nn.relu(x)
        if self.inplace_relu:
            x = activated
        shortcut = mean_pool(x) if self.downsample else x
        if self.downsample or x.shape[-1] != self.features:
            shortcut = Conv(self.features, 1, self.config, name="shortcut")(shortcut)
        x = Conv(self.features, 3, self.config, name="conv_0")(activated)
        operation = conv2d_mean_pool if self.downsample else conv2d
        return Conv(self.features, 3, self.config, operation, name="conv_1")(nn.relu(x)) + shortcut


class DiscriminatorStem(nn.Module):
    """The first block, on the image: 3x3, ReLU, 3x3, halved, plus a halved 1x1 shortcut; no ReLU before."""

    features: int
    config: LayerConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height//2 width//2 {self.features}"]:
        shortcut = Conv(self.features, 1, self.config, name="shortcut")(mean_pool(x))
        x = Conv(self.features, 3, self.config, name="conv_0")(x)
        return Conv(self.features, 3, self.config, conv2d_mean_pool, name="conv_1")(nn.relu(x)) + shortcut


class Blocks(NamedTuple):
    """The module definitions of what changes the side of feature maps.

    Attributes:
      generator: called with (features, num_classes, config), as `GeneratorBlock`.
      stem: the discriminator's first, with (features, config), as `DiscriminatorStem`.
      discriminator: with (features, downsample, config, inplace_relu), as `DiscriminatorBlock`.
    """

    generator: Callable[..., nn.Module]
    stem: Callable[..., nn.Module]
    discriminator: Callable[..., nn.Module]


RESIDUAL = Blocks(GeneratorBlock, DiscriminatorStem, DiscriminatorBlock)
BLOCKS = {
    "residual": RESIDUAL,
    "bottleneck": Blocks(BottleneckGeneratorStage, BottleneckStem, BottleneckDiscriminatorStage),
}
