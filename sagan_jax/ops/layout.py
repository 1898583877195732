"""How images and kernels lie in memory, and questions about their shapes."""

import math

import jax.numpy as jnp
from jax.export import is_symbolic_dim
from jaxtyping import Array, Float

LAYOUT = ("NHWC", "HWIO", "NHWC")


def flip_kernel(kernel: Float[Array, "size size channels features"]) -> Float[Array, "size size features channels"]:
    """Returns the kernel of the adjoint, [k, k, C, F] -> [k, k, F, C]."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def kernel_dtype(x: Float[Array, "..."]) -> jnp.dtype:
    """Returns the dtype of kernels for maps x, and of their gradients: float32, or float64 where maps have it."""
    return jnp.promote_types(x.dtype, jnp.float32)


def fewer_positions(x: Float[Array, "batch height width *others"], number: int) -> bool:
    """Returns whether x [B, H, W, ...] has fewer positions than `number`; False where B is symbolic (jax.export)."""
    return not is_symbolic_dim(x.shape[0]) and math.prod(x.shape[:3]) < number
