"""Convolutions and their derivatives, each in the form that is fast on the device at hand.

`conv2d(x, k)` is linear in x and in k. Its adjoint in x is `conv_transpose2d`, up to the order of the kernel, and that
in k is `kernel_gradient`: each of the three has the other two as its gradients. So all that a network computes, forward
and back, are these three. cuDNN and TPUs know each of them; for XLA's CPU backend they are written in other ways.

Stride 1 goes with an odd kernel and keeps the side; stride 2 goes with a 4x4 kernel and halves it, which
`conv_transpose2d` doubles.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.export import is_symbolic_dim

LAYOUT = ("NHWC", "HWIO", "NHWC")

# For CPUs: numbers in a kernel, and positions of a batch at the lower resolution, from and up to which a product of
# patches is faster than a convolution, and up to which one product makes a kernel gradient.
LARGE_KERNEL, FEW_POSITIONS, MOST_POSITIONS = 2**20, 1024, 8192


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv2d(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """x [B, stride * H, stride * W, C], kernel [k, k, C, F] -> [B, H, W, F]."""
    return _by_platform(_conv2d_on_cpu, _conv2d, stride)(x, kernel)


@jax.custom_vjp
def conv_transpose2d(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution of stride 2, x [B, H, W, C], kernel [4, 4, C, F] -> [B, 2H, 2W, F].

    The result is that of convolving x with a zero after each of its pixels.
    """
    return _by_platform(_conv_transpose2d_by_squares, _conv_transpose2d)(x, kernel)


def kernel_gradient(x: jax.Array, gradient: jax.Array, size: int, stride: int) -> jax.Array:
    """The gradient [size, size, C, F] of the kernel of `conv2d`, given that of its result [B, H, W, F]."""
    return _by_platform(_kernel_gradient_on_cpu, _kernel_gradient, size, stride)(x, gradient)


def fewer_positions(x: jax.Array, number: int) -> bool:
    """Whether a batch of maps [B, H, W, ...] has fewer positions than a number; not where B is open, see jax.export."""
    return not is_symbolic_dim(x.shape[0]) and math.prod(x.shape[:3]) < number


def flip_kernel(kernel: jax.Array) -> jax.Array:
    """The kernel of the adjoint, [k, k, C, F] -> [k, k, F, C]."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _by_platform(cpu: Callable[..., jax.Array], default: Callable[..., jax.Array], *fixed: int) -> Callable[..., Any]:
    """The function for CPUs or that for other devices, chosen when it is compiled; `fixed` are its last arguments."""

    def chosen(*arrays: jax.Array) -> Any:
        return jax.lax.platform_dependent(
            *arrays, cpu=lambda *arrays: cpu(*arrays, *fixed), default=lambda *arrays: default(*arrays, *fixed)
        )

    return chosen


def _conv2d_backward(stride: int, saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    if stride == 2:
        x_gradient = conv_transpose2d(gradient, flip_kernel(kernel))
    else:
        x_gradient = _by_platform(_input_gradient_on_cpu, _input_gradient, stride)(gradient, kernel)
    return x_gradient, kernel_gradient(x, gradient, kernel.shape[0], stride)


def _conv_transpose2d_backward(saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    return conv2d(gradient, flip_kernel(kernel), 2), flip_kernel(kernel_gradient(gradient, x, 4, 2))


conv2d.defvjp(lambda x, kernel, stride: (conv2d(x, kernel, stride), (x, kernel)), _conv2d_backward)
conv_transpose2d.defvjp(lambda x, kernel: (conv_transpose2d(x, kernel), (x, kernel)), _conv_transpose2d_backward)


def _conv2d(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    margin = (kernel.shape[0] - 1) // 2
    padding = ((margin, margin), (margin, margin))
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=LAYOUT)


def _input_gradient(gradient: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    batch, height, width, _ = gradient.shape
    shape = (batch, stride * height, stride * width, kernel.shape[2])
    return _adjoint(lambda x: _conv2d(x, kernel, stride), shape, gradient)


def _conv_transpose2d(x: jax.Array, kernel: jax.Array) -> jax.Array:
    # cuDNN's kernels are found only where the kernel is visibly mirrored: the barrier keeps XLA from cancelling the two
    # mirrorings, this one and that of the adjoint.
    return _input_gradient(x, jax.lax.optimization_barrier(flip_kernel(kernel)), 2)


def _kernel_gradient(x: jax.Array, gradient: jax.Array, size: int, stride: int) -> jax.Array:
    shape = (size, size, x.shape[-1], gradient.shape[-1])
    return _adjoint(functools.partial(_conv2d, x, stride=stride), shape, gradient)


def _adjoint(function: Callable[[jax.Array], jax.Array], shape: tuple[int, ...], y: jax.Array) -> jax.Array:
    """The adjoint of a linear function of an array of this shape, applied to y."""
    return jax.linear_transpose(function, jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]


def _conv_transpose2d_by_squares(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `conv_transpose2d` as one 2x2 convolution, which makes each 2x2 square as four channels."""
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    # The squares begin one pixel outside of the result: row r of a square is met by the kernel's rows 1 - r and 3 - r.
    taps = kernel.reshape(2, 2, 2, 2, channels, features)[:, ::-1, :, ::-1]
    kernel = taps.transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, channels, 4 * features)
    squares = jax.lax.conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)
    squares = squares.reshape(batch, height + 1, width + 1, 2, 2, features).swapaxes(2, 3)
    return squares.reshape(batch, 2 * height + 2, 2 * width + 2, features)[:, 1:-1, 1:-1]


def _conv2d_on_cpu(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """As one matrix product where a large kernel meets few positions, for which XLA:CPU's convolutions are slow."""
    size, channels, features = kernel.shape[1:]
    batch, height, width = x.shape[0], x.shape[1] // stride, x.shape[2] // stride
    if size == 1 or kernel.size < LARGE_KERNEL or not fewer_positions(x, stride**2 * FEW_POSITIONS + 1):
        return _conv2d(x, kernel, stride)
    margin = (size - 1) // 2
    x = jnp.pad(x, ((0, 0), (margin, size // 2), (margin, size // 2), (0, 0)))
    shifts = itertools.product(range(size), repeat=2)
    patches = [x[:, i : i + stride * height : stride, j : j + stride * width : stride] for i, j in shifts]
    flat = jnp.concatenate(patches, axis=-1).reshape(-1, size * size * channels)
    return (flat @ kernel.reshape(-1, features)).reshape(batch, height, width, features)


def _input_gradient_on_cpu(gradient: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return _conv2d_on_cpu(gradient, flip_kernel(kernel), stride)


def _kernel_gradient_on_cpu(x: jax.Array, gradient: jax.Array, size: int, stride: int) -> jax.Array:
    """The sum over pieces of the batch: XLA makes a matrix product of each, and of the whole a slow one."""
    shape = (size, size, x.shape[-1], gradient.shape[-1])
    batch, height, width, _ = gradient.shape
    pieces = min(batch, -(-batch * height * width // MOST_POSITIONS))
    while batch % pieces:
        pieces += 1
    # Piece i takes every n-th image from i on, which leaves a sharded batch where it is.
    x, gradient = (a.reshape(batch // pieces, pieces, *a.shape[1:]) for a in (x, gradient))
    parts = [
        _adjoint(functools.partial(_conv2d_on_cpu, x[:, i], stride=stride), shape, gradient[:, i])
        for i in range(pieces)
    ]
    return functools.reduce(jnp.add, parts)
