"""Doubling and halving the side of a feature map, alone and joined with a 3x3 convolution.

A convolution of a map whose pixels were repeated, or whose result is averaged, in 2x2 squares sees or makes the same
number several times. Joined, both are 4x4 convolutions of stride 2 whose kernels are sums of shifted 3x3 kernels: the
same function, up to rounding, with 16 products where there were 36.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sagan_jax.ops.convolution import conv2d, conv_transpose2d
from sagan_jax.ops.layout import fewer_positions

# Of a batch at the lower resolution; for fewer, making the larger kernel costs more than it saves.
FEWEST_POSITIONS = 256


def upsample(x: Float[Array, "batch height width channels"]) -> Float[Array, "batch 2*height 2*width channels"]:
    """Repeats each pixel in a 2x2 square, [B, H, W, C] -> [B, 2H, 2W, C]."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


def mean_pool(x: Float[Array, "batch height width channels"]) -> Float[Array, "batch height//2 width//2 channels"]:
    """Averages each 2x2 square, [B, 2H, 2W, C] -> [B, H, W, C]."""
    return _squares(x).mean(axis=(2, 4))


def max_pool(x: Float[Array, "batch height width channels"]) -> Float[Array, "batch height//2 width//2 channels"]:
    """Takes the largest of each 2x2 square, [B, 2H, 2W, C] -> [B, H, W, C]."""
    return _squares(x).max(axis=(2, 4))


def upsample_conv2d(
    x: Float[Array, "batch height width channels"], kernel: Float[Array, "3 3 channels features"]
) -> Float[Array, "batch 2*height 2*width features"]:
    """Computes conv2d(upsample(x), kernel) in the dtype of x, [B, H, W, C], [3, 3, C, F] float32 -> [B, 2H, 2W, F]."""
    if fewer_positions(x, FEWEST_POSITIONS):
        return conv2d(upsample(x), kernel)
    return conv_transpose2d(x, folded_kernel(kernel))


def conv2d_mean_pool(
    x: Float[Array, "batch height width channels"], kernel: Float[Array, "3 3 channels features"]
) -> Float[Array, "batch height//2 width//2 features"]:
    """Computes mean_pool(conv2d(x, kernel)) in the dtype of x, [B, 2H, 2W, C], [3, 3, C, F] float32 -> [B, H, W, F]."""
    if fewer_positions(x, 4 * FEWEST_POSITIONS):
        return mean_pool(conv2d(x, kernel))
    return conv2d(x, folded_kernel(kernel) / 4, 2)


def folded_kernel(kernel: Float[Array, "3 3 channels features"]) -> Float[Array, "4 4 channels features"]:
    """Sums a kernel [3, 3, C, F] over its four positions in [4, 4, C, F]."""
    for axis in (0, 1):
        before, after = [(0, 0)] * kernel.ndim, [(0, 0)] * kernel.ndim
        before[axis], after[axis] = (1, 0), (0, 1)
        kernel = jnp.pad(kernel, before) + jnp.pad(kernel, after)
    return kernel


def _squares(x: jax.Array) -> jax.Array:
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels)
