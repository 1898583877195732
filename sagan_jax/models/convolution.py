"""Convolutions and their derivatives, each in the form that is fast on the device at hand.

`convolve(x, k)` is linear in x and in k. Its adjoint in x is `spread`, up to the order of the kernel, and that in
k is `kernel_gradient`: each of the three has the other two as its gradients. So all that a network computes, forward
and back, are these three. cuDNN and TPUs know each of them; for XLA's CPU backend two are written in another way.

Stride 1 goes with an odd kernel and keeps the side; stride 2 goes with a 4x4 kernel and halves it, `spread` doubles it.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

LAYOUT = ("NHWC", "HWIO", "NHWC")
MOST_POSITIONS = 8192  # in one kernel gradient on a CPU, where the matrix product that XLA makes of more is slow


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """x [B, stride * H, stride * W, C], kernel [k, k, C, F] -> [B, H, W, F]."""
    return _convolve(x, kernel, stride)


@jax.custom_vjp
def spread(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution of stride 2, x [B, H, W, C], kernel [4, 4, C, F] -> [B, 2H, 2W, F].

    The result is that of convolving x with a zero after each of its pixels.
    """
    return jax.lax.platform_dependent(x, kernel, cpu=_spread_by_squares, default=_spread)


def kernel_gradient(x: jax.Array, gradient: jax.Array, size: int, stride: int) -> jax.Array:
    """The gradient [size, size, C, F] of the kernel of `convolve`, given that of its result [B, H, W, F]."""
    whole = functools.partial(_kernel_gradient, size=size, stride=stride)
    return jax.lax.platform_dependent(x, gradient, cpu=functools.partial(_in_pieces, whole), default=whole)


def mirrored(kernel: jax.Array) -> jax.Array:
    """The kernel of the adjoint, [k, k, C, F] -> [k, k, F, C]."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _convolve_backward(stride: int, saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    x_gradient = _input_gradient(gradient, kernel, 1) if stride == 1 else spread(gradient, mirrored(kernel))
    return x_gradient, kernel_gradient(x, gradient, kernel.shape[0], stride)


def _spread_backward(saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    return convolve(gradient, mirrored(kernel), 2), mirrored(kernel_gradient(gradient, x, 4, 2))


convolve.defvjp(lambda x, kernel, stride: (convolve(x, kernel, stride), (x, kernel)), _convolve_backward)
spread.defvjp(lambda x, kernel: (spread(x, kernel), (x, kernel)), _spread_backward)


def _convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    margin = (kernel.shape[0] - 1) // 2
    padding = ((margin, margin), (margin, margin))
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=LAYOUT)


def _input_gradient(gradient: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    batch, height, width, _ = gradient.shape
    shape = (batch, stride * height, stride * width, kernel.shape[2])
    return _adjoint(lambda x: _convolve(x, kernel, stride), shape, gradient)


def _spread(x: jax.Array, kernel: jax.Array) -> jax.Array:
    # cuDNN's kernels are found only where the kernel is visibly mirrored: the barrier keeps XLA from cancelling the two
    # mirrorings, this one and that of the adjoint.
    return _input_gradient(x, jax.lax.optimization_barrier(mirrored(kernel)), 2)


def _kernel_gradient(x: jax.Array, gradient: jax.Array, size: int, stride: int) -> jax.Array:
    shape = (size, size, x.shape[-1], gradient.shape[-1])
    return _adjoint(lambda kernel: _convolve(x, kernel, stride), shape, gradient)


def _adjoint(function: Callable[[jax.Array], jax.Array], shape: tuple[int, ...], y: jax.Array) -> jax.Array:
    """The adjoint of a linear function of an array of this shape, applied to y."""
    return jax.linear_transpose(function, jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]


def _spread_by_squares(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`spread` as one 2x2 convolution that makes the four pixels of each square of the result as separate channels."""
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    # The squares begin one pixel outside of the result: row r of a square is met by the kernel's rows 1 - r and 3 - r.
    taps = kernel.reshape(2, 2, 2, 2, channels, features)[:, ::-1, :, ::-1]
    kernel = taps.transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, channels, 4 * features)
    squares = jax.lax.conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)
    squares = squares.reshape(batch, height + 1, width + 1, 2, 2, features).swapaxes(2, 3)
    return squares.reshape(batch, 2 * height + 2, 2 * width + 2, features)[:, 1:-1, 1:-1]


def _in_pieces(whole: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array, gradient: jax.Array) -> jax.Array:
    """The sum of a kernel gradient over pieces of the batch: XLA:CPU makes a single matrix product of each."""
    batch, height, width, _ = gradient.shape
    pieces = min(batch, -(-batch * height * width // MOST_POSITIONS))
    while batch % pieces:
        pieces += 1
    # Piece i takes every n-th image from i on, which leaves a sharded batch where it is.
    x, gradient = (a.reshape(batch // pieces, pieces, *a.shape[1:]) for a in (x, gradient))
    return functools.reduce(jnp.add, [whole(x[:, i], gradient[:, i]) for i in range(pieces)])
