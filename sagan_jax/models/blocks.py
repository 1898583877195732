"""The residual blocks of both networks (Miyato & Koyama 2018, as in the authors' code).

The 1x1 convolution of each shortcut runs at the lower of the two resolutions: it
commutes with both kinds of resampling, so the result is the same at a quarter of
the work.
"""

import flax.linen as nn
import jax

from sagan_jax.models.conditional_norm import BatchNorm
from sagan_jax.models.layers import Conv, Numerics, same_size
from sagan_jax.models.resampling import convolve_mean_pool, mean_pool, upsample, upsample_convolve


class GeneratorBlock(nn.Module):
    """BN, ReLU, upsample, 3x3, BN, ReLU, 3x3, plus an upsampled 1x1 shortcut; [B, H, W, C] -> [B, 2H, 2W, features]."""

    features: int
    num_classes: int
    numerics: Numerics

    @nn.compact
    def __call__(self, x: jax.Array, labels: jax.Array, train: bool) -> jax.Array:
        numerics = self.numerics
        shortcut = upsample(Conv(self.features, 1, numerics, name="shortcut")(x))
        x = nn.relu(BatchNorm(numerics, self.num_classes, name="norm_0")(x, labels, train=train))
        x = Conv(self.features, 3, numerics, upsample_convolve, name="conv_0")(x)
        x = nn.relu(BatchNorm(numerics, self.num_classes, name="norm_1")(x, labels, train=train))
        x = Conv(self.features, 3, numerics, name="conv_1")(x)
        return x + shortcut


class DiscriminatorBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, plus a shortcut, both halved if `downsample`; [B, H, W, C] -> [.., features].

    The shortcut takes x itself, not ReLU(x): activating it in place is a known slip that
    costs FID. It has a 1x1 convolution wherever the shape changes.

    `activated_shortcuts` is that slip: of imported weights only, which learned with it; our own training never does
    this.
    """

    features: int
    downsample: bool
    numerics: Numerics
    activated_shortcuts: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        activated = nn.relu(x)
        if self.activated_shortcuts:
            x = activated
        shortcut = mean_pool(x) if self.downsample else x
        if self.downsample or x.shape[-1] != self.features:
            shortcut = Conv(self.features, 1, self.numerics, name="shortcut")(shortcut)
        x = Conv(self.features, 3, self.numerics, name="conv_0")(activated)
        operation = convolve_mean_pool if self.downsample else same_size
        return Conv(self.features, 3, self.numerics, operation, name="conv_1")(nn.relu(x)) + shortcut


class DiscriminatorStem(nn.Module):
    """The first block, on the image: 3x3, ReLU, 3x3, halved, plus a halved 1x1 shortcut; no ReLU before."""

    features: int
    numerics: Numerics

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shortcut = Conv(self.features, 1, self.numerics, name="shortcut")(mean_pool(x))
        x = Conv(self.features, 3, self.numerics, name="conv_0")(x)
        return Conv(self.features, 3, self.numerics, convolve_mean_pool, name="conv_1")(nn.relu(x)) + shortcut
