"""Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957): kernels divided by their largest singular values.

A function of a whole tree of weights, called once per *update* of a network and once for each stretch in which it is
frozen; the modules get kernels that are divided already. The estimate of a singular value, sigma, comes from one step
of the power iteration per update, however often the weights are used in between. Everything here is float32.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import flax
import jax
import jax.numpy as jnp

Tree = Any
Path = tuple[str, ...]

LARGE = 2**20  # numbers in a kernel that keeps a device busy by itself
KERNEL = "kernel"  # leaves of this name are normalised, and no others
FREE_KERNEL = "free_kernel"  # what a kernel is called in a network without spectral norm


def as_matrix(kernel: jax.Array) -> jax.Array:
    """The kernel as [everything else, output channels], the reshape of the authors' code (ops.py)."""
    return kernel.reshape(-1, kernel.shape[-1])


def l2_normalize(vector: jax.Array, epsilon: float) -> jax.Array:
    """vector / (|vector| + epsilon), as in the authors' code."""
    return vector / (jnp.linalg.norm(vector) + epsilon)


def exact_matmul(left: jax.Array, right: jax.Array) -> jax.Array:
    """left @ right in true float32: accelerators would round the inputs to fewer bits by default."""
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def initial_stats(params: Tree, key: jax.Array) -> Tree:
    """`spectral_stats` of fresh weights: for every kernel a random unit vector `u` [C] and `sigma` [] = 1."""
    stats: dict[Path, jax.Array] = {}
    kernels = _kernels(params)
    for (layer, kernel), layer_key in zip(kernels.items(), jax.random.split(key, len(kernels)), strict=True):
        stats[*layer, "u"] = l2_normalize(jax.random.normal(layer_key, kernel.shape[-1:]), 0.0)
        stats[*layer, "sigma"] = jnp.ones(())
    return flax.traverse_util.unflatten_dict(stats)


def normalize_for_update(params: Tree, stats: Tree, epsilon: float) -> tuple[Tree, Tree]:
    """The weights for one update of their network, after one step of the power iteration.

    Gradients flow through sigma = |v^T W| with v constant, which is v^T W u with both constant, and the gradient of
    the true singular value when the iteration has converged.
    Deviation: the authors' code differentiates through u and v as well.

    Args:
      params: a network's parameters, float32.
      stats: its `spectral_stats`.
      epsilon: added to lengths before dividing by them.

    Returns:
      params with each kernel divided by its sigma, and the new `spectral_stats`.

    Reference: Miyato et al. 2018, algorithm 1.
    """

    def iterate(matrix: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        v = jax.lax.stop_gradient(l2_normalize(exact_matmul(matrix, u), epsilon))
        along_v = exact_matmul(v, matrix)
        return jnp.linalg.norm(along_v), l2_normalize(along_v, epsilon)

    kernels, old = _kernels(params), flax.traverse_util.flatten_dict(stats)
    sigmas, new = {}, dict(old)
    for layers in _of_equal_shape(kernels):
        matrices = jnp.stack([as_matrix(kernels[layer]) for layer in layers])
        found = jax.vmap(iterate)(matrices, jnp.stack([old[*layer, "u"] for layer in layers]))
        for layer, sigma, u in zip(layers, *found, strict=True):
            sigmas[layer] = sigma
            new[*layer, "u"], new[*layer, "sigma"] = jax.lax.stop_gradient((u, sigma))
    return _divided(params, sigmas), flax.traverse_util.unflatten_dict(new)


def normalize_frozen(params: Tree, stats: Tree) -> Tree:
    """The weights while their network is frozen: each kernel divided by |W u|, with u as it is."""
    kernels, old = _kernels(params), flax.traverse_util.flatten_dict(stats)
    sigmas: dict[Path, jax.Array] = {}
    for layers in _of_equal_shape(kernels):
        matrices = jnp.stack([as_matrix(kernels[layer]) for layer in layers])
        vectors = jnp.stack([old[*layer, "u"] for layer in layers])
        found = jnp.linalg.norm(jax.vmap(exact_matmul)(matrices, vectors), axis=-1)
        sigmas |= dict(zip(layers, found, strict=True))
    return _divided(params, sigmas)


def normalize_exactly(params: Tree) -> Tree:
    """Each kernel divided by its exact largest singular value; for weights that no power iteration has followed."""
    return _divided(params, {layer: largest_singular_value(as_matrix(k)) for layer, k in _kernels(params).items()})


def largest_singular_value(matrix: jax.Array) -> jax.Array:
    """Of matrix [N, C], as []: the root of the largest eigenvalue of the smaller Gram matrix.

    That is far cheaper than a singular value decomposition of the long, thin matrices that convolutions have.
    """
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    leading = jnp.linalg.eigh(exact_matmul(tall.T, tall))[1][:, -1]
    return jnp.linalg.norm(exact_matmul(tall, leading))


def largest_sigma(stats: Tree) -> jax.Array:
    """The largest sigma of all layers of a network, [] float32."""
    flat = flax.traverse_util.flatten_dict(stats)
    return jnp.max(jnp.stack([value for path, value in flat.items() if path[-1] == "sigma"]))


def _kernels(params: Tree) -> dict[Path, jax.Array]:
    """By layer in the order of their names: that of fresh weights depends on how the modules were called."""
    flat = flax.traverse_util.flatten_dict(params)
    return {path[:-1]: value for path, value in sorted(flat.items()) if path[-1] == KERNEL}


def _of_equal_shape(kernels: dict[Path, jax.Array]) -> Iterable[list[Path]]:
    """Small kernels are iterated together: a step is otherwise spent on starting many tiny products."""
    groups: dict[Any, list[Path]] = defaultdict(list)
    for layer, kernel in kernels.items():
        groups[as_matrix(kernel).shape if kernel.size < LARGE else layer].append(layer)
    return groups.values()


def _divided(params: Tree, sigmas: dict[Path, jax.Array]) -> Tree:
    flat = flax.traverse_util.flatten_dict(params)
    return flax.traverse_util.unflatten_dict(
        {path: value / sigmas[path[:-1]] if path[-1] == KERNEL else value for path, value in flat.items()}
    )
