"""Layers between the blocks of both networks: attention, or for comparison something local of the same size."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float

from sagan_jax.models.architecture import Architecture
from sagan_jax.models.layers import Conv, LayerConfig, add_gated

Attention = Callable[..., nn.Module]  # (config, name) -> a module [B, H, W, C] -> [B, H, W, C], as SelfAttention


class LocalBlock(nn.Module):
    """x + gamma * o as in `SelfAttention`, but o sees 5x5 positions: 3x3, ReLU, 3x3 in as many parameters.

    Whether attention helps because it looks far or because a network gets more layers is what the paper asks with a
    residual block in its place (Zhang et al. 2018, table 1), whose layers it does not give.
    """

    config: LayerConfig

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"]) -> Float[Array, "batch height width channels"]:
        """Maps x [B, H, W, C] to [B, H, W, C] in the dtype of x."""
        channels = x.shape[-1]
        # 2 * 9 * C * narrow parameters; attention has 2 * C * C/8 + 2 * C * C/2.
        narrow = max(1, round(channels * 5 / 72))
        o = nn.relu(Conv(narrow, 3, self.config, use_bias=False, name="conv_0")(x))
        o = Conv(channels, 3, self.config, use_bias=False, name="conv_1")(o)
        return add_gated(self, x, o)


def after_block(
    architecture: Architecture,
    index: int,
    config: LayerConfig,
    attention: Attention,
    x: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height width channels"]:
    """Applies what follows the block of an index to its result x; part of the compact method that calls it."""
    side = architecture.resolutions[index]
    if architecture.first_of_resolution(index):
        if side in architecture.attention:
            x = attention(config, name=f"attention_{side}")(x)
        if side in architecture.local_block:
            x = LocalBlock(config, name=f"local_block_{side}")(x)
    return x
