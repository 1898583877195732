"""Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957): a kernel divided by its largest singular value.

The estimate of that value, sigma, comes from one step of the power iteration per
call in which the collection `spectral_stats` is mutable: once per *update* of a
network, however often its weights are used in between. Everything here is float32.
"""

from collections.abc import Mapping
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

COLLECTION = "spectral_stats"


def as_matrix(kernel: jax.Array) -> jax.Array:
    """The kernel as [everything else, output channels], the reshape of the authors' code (ops.py)."""
    return kernel.reshape(-1, kernel.shape[-1])


def l2_normalize(vector: jax.Array, epsilon: float) -> jax.Array:
    """vector / (|vector| + epsilon), as in the authors' code."""
    return vector / (jnp.linalg.norm(vector) + epsilon)


def exact_matmul(left: jax.Array, right: jax.Array) -> jax.Array:
    """left @ right in true float32: accelerators would round the inputs to fewer bits by default."""
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def power_iteration(matrix: jax.Array, u: jax.Array, epsilon: float) -> tuple[jax.Array, jax.Array]:
    """One step towards the leading singular pair of `matrix`.

    Args:
      matrix: [N, C] float32.
      u: [C] float32, unit length, the current right singular vector.
      epsilon: added to lengths before dividing by them.

    Returns:
      v [N] and the new u [C], both of unit length.

    Reference: Miyato et al. 2018, algorithm 1.
    """
    v = l2_normalize(exact_matmul(matrix, u), epsilon)
    return v, l2_normalize(exact_matmul(v, matrix), epsilon)


class SpectralNorm(nn.Module):
    """Divides a kernel by the current estimate of its largest singular value.

    Variables in `spectral_stats`: `u` [C], the right singular vector, and `sigma` [],
    the estimate, kept for logging. Where the collection is immutable the stored `u` is
    used as it is, so every pass between two updates sees the same function of the weights.

    Gradients flow through sigma = v^T W u with u and v constant, which is the gradient of
    the true singular value when the iteration has converged.
    Deviation: the authors' code differentiates through u and v as well.
    """

    epsilon: float = 1e-12

    @nn.compact
    def __call__(self, kernel: jax.Array) -> jax.Array:
        """kernel [..., C] float32 -> the same shape, float32, with spectral norm close to 1."""
        matrix = as_matrix(kernel)
        u = self.variable(COLLECTION, "u", self._random_unit_vector, kernel.shape[-1])
        sigma = self.variable(COLLECTION, "sigma", jnp.ones, ())
        v, new_u = power_iteration(jax.lax.stop_gradient(matrix), u.value, self.epsilon)
        update = self.is_mutable_collection(COLLECTION)
        right = new_u if update else u.value
        estimate = exact_matmul(exact_matmul(v, matrix), right)
        if update:
            u.value, sigma.value = new_u, jax.lax.stop_gradient(estimate)
        return kernel / estimate

    def _random_unit_vector(self, size: int) -> jax.Array:
        return l2_normalize(jax.random.normal(self.make_rng("params"), (size,)), self.epsilon)


def converged_stats(params: Mapping[str, Any], stats: Mapping[str, Any]) -> dict[str, Any]:
    """`spectral_stats` with the exact leading singular vector and value of each kernel.

    For weights that no power iteration has followed, such as an average over training.

    Args:
      params: a network's parameters; each normalised layer holds a `kernel`.
      stats: the network's `spectral_stats`; says which layers are normalised.

    Returns:
      A tree like `stats`.
    """
    flat_params = flax.traverse_util.flatten_dict(params)
    converged = {}
    for path in flax.traverse_util.flatten_dict(stats):
        layer = path[:-2]  # (*layer, "spectral_norm", "u" or "sigma")
        if path[-1] == "u":
            u, sigma = leading_singular_pair(as_matrix(flat_params[(*layer, "kernel")]))
            converged[path] = u
            converged[(*path[:-1], "sigma")] = sigma
    return flax.traverse_util.unflatten_dict(converged)


def leading_singular_pair(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The leading right singular vector [C] and singular value [] of matrix [N, C].

    By the eigenvectors of the smaller Gram matrix, which is far cheaper than a singular
    value decomposition of the long, thin matrices that convolutions have.
    """
    if matrix.shape[0] < matrix.shape[1]:
        left = jnp.linalg.eigh(exact_matmul(matrix, matrix.T))[1][:, -1]
        u = exact_matmul(left, matrix)
        u = u / jnp.linalg.norm(u)
    else:
        u = jnp.linalg.eigh(exact_matmul(matrix.T, matrix))[1][:, -1]
    return u, jnp.linalg.norm(exact_matmul(matrix, u))


def largest_sigma(stats: Mapping[str, Any]) -> jax.Array:
    """The largest sigma of all layers of a network, [] float32."""
    flat = flax.traverse_util.flatten_dict(stats)
    return jnp.max(jnp.stack([value for path, value in flat.items() if path[-1] == "sigma"]))
