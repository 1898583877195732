"""Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957) as a mutable Linen collection that the layers own."""

from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Tree = Any  # nested dicts of arrays

COLLECTION = "spectral_stats"
INITIAL_ITERATIONS = 15


def spectrally_normalized(
    layer: nn.Module, kernel: Float[Array, "*others channels"], epsilon: float
) -> Float[Array, "*others channels"]:
    """Divides the kernel of a layer by an estimate of its largest singular value.

    The layer owns `u` [C], a unit vector, and `sigma` [] in the collection `spectral_stats`:

    - `init` returns them, after 15 iterations from a random u.
    - `apply(..., mutable=["spectral_stats"])` makes one step of the power iteration from u, divides by the new sigma
      and returns both. Several calls from the same variables, as for the pieces of an accumulated batch, divide by the
      same sigma.
    - `apply` without it divides by |W u| and changes nothing.
    - `apply` of variables without the collection raises ValueError.

    Everything here is float32. Gradients flow through sigma = |v^T W| with v constant, which is v^T W u with both
    constant, and the gradient of the true singular value where the iteration has converged.
    Deviation: the authors' code differentiates through u and v as well.

    `flax.linen.SpectralNorm` is no substitute: it iterates also where it is not to update, multiplies in the default
    precision of the device, and keeps other names in `batch_stats`.

    Args:
      layer: the module that calls this, in a compact method.
      kernel: its parameter, [..., C] float32.
      epsilon: added to lengths before dividing by them.

    Returns:
      the kernel divided by sigma.

    Reference: Miyato et al. 2018, algorithm 1; ops.py of the authors' code.
    """
    if not (layer.is_initializing() or layer.has_variable(COLLECTION, "u")):
        raise ValueError(
            f"the layer {'/'.join(layer.path)} has no {COLLECTION}: pass all variables that init returned, {COLLECTION}"
            " as well as params, or weights made plain (sagan_jax.plain_params) to a module without spectral norm."
        )
    matrix = as_matrix(kernel)
    u = layer.variable(COLLECTION, "u", lambda: _initial_vector(matrix, layer.make_rng("params"), epsilon))
    sigma = layer.variable(COLLECTION, "sigma", lambda: _length_along(matrix, u.value))
    if layer.is_initializing() or not layer.is_mutable_collection(COLLECTION):
        return kernel / _length_along(matrix, u.value)
    v = jax.lax.stop_gradient(_left_vector(matrix, u.value, epsilon))
    along_v = exact_matmul(v, matrix)
    estimate = jnp.linalg.norm(along_v)
    u.value, sigma.value = jax.lax.stop_gradient((l2_normalize(along_v, epsilon), estimate))
    return kernel / estimate


def as_matrix(kernel: Float[Array, "*others channels"]) -> Float[Array, "rows channels"]:
    """Reshapes a kernel to [everything else, output channels], as the authors' code (ops.py)."""
    return kernel.reshape(-1, kernel.shape[-1])


def l2_normalize(vector: Float[Array, " size"], epsilon: float) -> Float[Array, " size"]:
    """Computes vector / (|vector| + epsilon), as the authors' code."""
    return vector / (jnp.linalg.norm(vector) + epsilon)


def exact_matmul(left: Float[Array, "..."], right: Float[Array, "..."]) -> Float[Array, "..."]:
    """Computes left @ right in true float32: by default accelerators round the inputs to fewer bits."""
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def largest_singular_value(matrix: Float[Array, "rows columns"]) -> Float[Array, ""]:
    """Computes that of a matrix [N, C], as []: the root of the largest eigenvalue of the smaller Gram matrix.

    That is far cheaper than a singular value decomposition of the long, thin matrices that convolutions have.
    """
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    leading = jnp.linalg.eigh(exact_matmul(tall.T, tall))[1][:, -1]
    return jnp.linalg.norm(exact_matmul(tall, leading))


def largest_sigma(stats: Tree) -> Float[Array, ""]:
    """Returns the largest sigma in a network's `spectral_stats`, [] float32."""
    flat = flax.traverse_util.flatten_dict(stats)
    return jnp.max(jnp.stack([value for path, value in flat.items() if path[-1] == "sigma"]))


def _initial_vector(matrix: jax.Array, key: jax.Array, epsilon: float) -> jax.Array:
    def iterate(_: jax.Array, u: jax.Array) -> jax.Array:
        return l2_normalize(exact_matmul(_left_vector(matrix, u, epsilon), matrix), epsilon)

    start = l2_normalize(jax.random.normal(key, matrix.shape[-1:]), 0.0)
    return jax.lax.fori_loop(0, INITIAL_ITERATIONS, iterate, start)


def _left_vector(matrix: jax.Array, u: jax.Array, epsilon: float) -> jax.Array:
    return l2_normalize(exact_matmul(matrix, u), epsilon)


def _length_along(matrix: jax.Array, u: jax.Array) -> jax.Array:
    return jnp.linalg.norm(exact_matmul(matrix, jax.lax.stop_gradient(u)))
