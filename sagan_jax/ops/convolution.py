"""Convolutions and their derivatives, each in the form that is fast on the platform at hand.

`conv2d(x, k)` is linear in x and in k. Its adjoint in x is `conv2d_input_gradient` and that in k is
`conv2d_kernel_gradient`: each of the three has the other two as its derivatives, so these three are all that a network
computes, forward and backward and in derivatives of higher order. cuDNN and TPUs have each of them; ops/cpu.py has
other forms for XLA's CPU backend.

Stride 1 takes an odd kernel and keeps the side; stride 2 takes a 4x4 kernel and halves it, which `conv_transpose2d`
doubles.

Maps and their gradients have the dtype that a network computes in. Kernels are float32 and so are their gradients,
which are sums over all positions of all images: rounded to the maps' dtype only where a kernel meets a map.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sagan_jax.ops import cpu
from sagan_jax.ops.bilinear import bilinear_primitive, set_transposes
from sagan_jax.ops.layout import LAYOUT, flip_kernel, kernel_dtype


def conv2d(
    x: Float[Array, "batch height width channels"], kernel: Float[Array, "size size channels features"], stride: int = 1
) -> Float[Array, "batch height//{stride} width//{stride} features"]:
    """Convolves x [B, stride * H, stride * W, C] with kernel [k, k, C, F] float32 -> [B, H, W, F] in the dtype of x."""
    return CONV2D.bind(x, kernel, size=kernel.shape[0], stride=stride)


def conv_transpose2d(
    x: Float[Array, "batch height width channels"], kernel: Float[Array, "4 4 channels features"]
) -> Float[Array, "batch 2*height 2*width features"]:
    """Computes the transposed convolution of stride 2, x [B, H, W, C], [4, 4, C, F] float32 -> [B, 2H, 2W, F].

    The result is that of convolving x with a zero after each of its pixels.
    """
    return INPUT_GRADIENT.bind(x, flip_kernel(kernel), size=4, stride=2)


def _conv2d(x: jax.Array, kernel: jax.Array, *, size: int, stride: int) -> jax.Array:
    margin = (size - 1) // 2
    padding = ((margin, margin), (margin, margin))
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(x, kernel.astype(x.dtype), strides, padding, dimension_numbers=LAYOUT)


def _input_gradient(gradient: jax.Array, kernel: jax.Array, *, size: int, stride: int) -> jax.Array:
    if stride == 2:
        # cuDNN's kernels are found only where the kernel is visibly flipped: the barrier keeps XLA from cancelling two
        # flips, that of `conv_transpose2d` and that of the adjoint.
        kernel = jax.lax.optimization_barrier(kernel.astype(gradient.dtype))
    batch, height, width, _ = gradient.shape
    x = jax.ShapeDtypeStruct((batch, stride * height, stride * width, kernel.shape[2]), gradient.dtype)
    return jax.linear_transpose(lambda x: _conv2d(x, kernel, size=size, stride=stride), x)(gradient)[0]


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, *, size: int, stride: int, dtype: jnp.dtype | None = None
) -> jax.Array:
    """Convolves x with the gradient; `dtype` is that of the sums, by default that of the maps."""
    margin = (size - 1) // 2
    padding = ((margin, size - stride - margin),) * 2
    kernel = jax.lax.conv_general_dilated(
        x,
        gradient,
        (1, 1),
        padding,
        rhs_dilation=(stride, stride),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        preferred_element_type=dtype,
    )
    return kernel.astype(kernel_dtype(x))


def _kernel_gradient_of_float32(x: jax.Array, gradient: jax.Array, **static: int) -> jax.Array:
    """Sums in float32 over chips as well. For this cuDNN has no kernel: XLA would convert both maps first."""
    return _kernel_gradient(x, gradient, **static, dtype=kernel_dtype(x))


_parameters = ("size", "stride")
# x [B, stride * H, stride * W, C], kernel [k, k, C, F] -> y [B, H, W, F]
CONV2D = bilinear_primitive("conv2d", default=_conv2d, platforms={"cpu": cpu.conv2d}, parameters=_parameters)
# y, kernel -> x
INPUT_GRADIENT = bilinear_primitive(
    "conv2d_input_gradient",
    default=_input_gradient,
    platforms={"cpu": cpu.input_gradient},
    parameters=_parameters,
)
# x, y -> kernel
KERNEL_GRADIENT = bilinear_primitive(
    "conv2d_kernel_gradient",
    default=_kernel_gradient,
    platforms={"cpu": cpu.kernel_gradient, "tpu": _kernel_gradient_of_float32},
    parameters=_parameters,
)
set_transposes(
    CONV2D,
    left=INPUT_GRADIENT.bind,
    right=lambda y, x, **static: KERNEL_GRADIENT.bind(x, y, **static),
)
set_transposes(
    INPUT_GRADIENT,
    left=CONV2D.bind,
    right=KERNEL_GRADIENT.bind,
)
set_transposes(
    KERNEL_GRADIENT,
    left=lambda kernel, y, **static: INPUT_GRADIENT.bind(y, kernel, **static),
    right=lambda kernel, x, **static: CONV2D.bind(x, kernel, **static),
)
