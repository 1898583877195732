"""Forms of the three convolutions of ops/convolution.py that are fast in XLA's CPU backend."""

import functools
import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sagan_jax.ops.layout import LAYOUT, fewer_positions, flip_kernel, kernel_dtype

# Numbers in a kernel, and positions of a batch at the lower resolution, from and up to which a product of patches is
# faster than a convolution, and up to which one product makes a kernel gradient.
LARGE_KERNEL, FEW_POSITIONS, MOST_POSITIONS = 2**20, 1024, 8192


def conv2d(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "size size channels features"],
    *,
    size: int,
    stride: int,
) -> Float[Array, "batch height//{stride} width//{stride} features"]:
    """Computes one matrix product where a large kernel meets few positions, where XLA's convolutions are slow."""
    kernel = kernel.astype(x.dtype)
    channels, features = kernel.shape[2:]
    batch, height, width = x.shape[0], x.shape[1] // stride, x.shape[2] // stride
    margin = (size - 1) // 2
    if size == 1 or kernel.size < LARGE_KERNEL or not fewer_positions(x, stride**2 * FEW_POSITIONS + 1):
        padding = ((margin, margin), (margin, margin))
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=LAYOUT)
    x = jnp.pad(x, ((0, 0), (margin, size // 2), (margin, size // 2), (0, 0)))
    shifts = itertools.product(range(size), repeat=2)
    patches = [x[:, i : i + stride * height : stride, j : j + stride * width : stride] for i, j in shifts]
    flat = jnp.concatenate(patches, axis=-1).reshape(-1, size * size * channels)
    return (flat @ kernel.reshape(-1, features)).reshape(batch, height, width, features)


def input_gradient(
    gradient: Float[Array, "batch height width features"],
    kernel: Float[Array, "size size channels features"],
    *,
    size: int,
    stride: int,
) -> Float[Array, "batch {stride}*height {stride}*width channels"]:
    """Computes stride 1 as a convolution, and stride 2 as one 2x2 convolution to four channels per 2x2 square."""
    kernel = flip_kernel(kernel.astype(gradient.dtype))
    if stride == 1:
        return conv2d(gradient, kernel, size=size, stride=1)
    batch, height, width, channels = gradient.shape
    features = kernel.shape[-1]
    # The squares begin one pixel outside of the result: row r of a square is met by the kernel's rows 1 - r and 3 - r.
    taps = kernel.reshape(2, 2, 2, 2, channels, features)[:, ::-1, :, ::-1]
    kernel = taps.transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, channels, 4 * features)
    squares = jax.lax.conv_general_dilated(gradient, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)
    squares = squares.reshape(batch, height + 1, width + 1, 2, 2, features).swapaxes(2, 3)
    return squares.reshape(batch, 2 * height + 2, 2 * width + 2, features)[:, 1:-1, 1:-1]


def kernel_gradient(
    x: Float[Array, "batch height width channels"],
    gradient: Float[Array, "batch height//{stride} width//{stride} features"],
    *,
    size: int,
    stride: int,
) -> Float[Array, "{size} {size} channels features"]:
    """Sums over pieces of the batch: XLA makes a matrix product of each, and of the whole a slow one."""
    x, gradient = (a.astype(kernel_dtype(x)) for a in (x, gradient))
    shape = jax.ShapeDtypeStruct((size, size, x.shape[-1], gradient.shape[-1]), gradient.dtype)
    batch, height, width, _ = gradient.shape
    pieces = min(batch, -(-batch * height * width // MOST_POSITIONS))
    while batch % pieces:
        pieces += 1
    # Piece i takes every n-th image from i on, which leaves a sharded batch where it is.
    x, gradient = (a.reshape(batch // pieces, pieces, *a.shape[1:]) for a in (x, gradient))

    def gradient_of(i: int) -> jax.Array:
        convolve = functools.partial(conv2d, x[:, i], size=size, stride=stride)
        return jax.linear_transpose(convolve, shape)(gradient[:, i])[0]

    return functools.reduce(jnp.add, map(gradient_of, range(pieces)))
