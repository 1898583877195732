"""Trained networks as plain ones: spectral norm worked into their weights, exactly."""

import dataclasses
from typing import Any, TypeVar

import flax.traverse_util
import jax
import jax.numpy as jnp

from sagan_jax.models.conditioning import ClassLabels
from sagan_jax.models.discriminator import Discriminator
from sagan_jax.models.generator import Generator
from sagan_jax.models.layers import CLASS_TABLES
from sagan_jax.models.spectral_norm import COLLECTION, as_matrix, largest_singular_value

ANY_LATENT_SIZE = 128  # no layer has spectral norm or not by the length of the latents
Tree = Any  # nested dicts of arrays
Network = TypeVar("Network", Generator, Discriminator)


def plain_network(network: Network) -> Network:
    """Returns the module that takes `plain_params`: the same one without spectral norm."""
    return network.clone(config=dataclasses.replace(network.config, spectral_norm=()))


def plain_params(network: Generator | Discriminator, params: Tree) -> Tree:
    """Divides each kernel that is spectrally normalised by its exact largest singular value.

    For weights that no power iteration has followed, such as an average. Normalised class tables become gains and
    biases.

    Args:
      network: that the weights belong to, with spectral norm.
      params: its `params`.

    Returns:
      `params` of `plain_network(network)`.
    """
    if not network.config.spectral_norm:
        return params
    normalized = _normalized_layers(network)
    tables = CLASS_TABLES in network.config.spectral_norm and getattr(network, "conditioning", None) is ClassLabels
    plain = {}
    for (*layer, name), value in flax.traverse_util.flatten_dict(params).items():
        if name != "kernel" or tuple(layer) not in normalized:
            plain[*layer, name] = value
        elif tables and layer[-1] in ("scale", "bias"):
            plain[tuple(layer)] = _divided(value) + (layer[-1] == "scale")
        else:
            plain[*layer, name] = _divided(value)
    return flax.traverse_util.unflatten_dict(plain)


def _normalized_layers(network: Generator | Discriminator) -> set[tuple[str, ...]]:
    """Returns the paths of the layers that own spectral norm; modules of other people need not."""
    key, labels = jax.random.key(0), jnp.zeros(1, jnp.int32)
    if isinstance(network, Generator):
        latents = jnp.zeros((1, ANY_LATENT_SIZE))
        shapes = jax.eval_shape(lambda: network.init(key, latents, labels, train=True))
    else:
        side = 2 * network.architecture.resolutions[0]
        shapes = jax.eval_shape(lambda: network.init(key, jnp.zeros((1, side, side, 3)), labels))
    return {path[:-1] for path in flax.traverse_util.flatten_dict(shapes[COLLECTION])}


def _divided(kernel: jax.Array) -> jax.Array:
    kernel = jnp.asarray(kernel)  # weights from a file are NumPy's
    sigma = largest_singular_value(as_matrix(kernel))
    return kernel / jnp.where(sigma == 0, 1, sigma)  # a kernel of zeros stays one
