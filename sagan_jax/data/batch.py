"""The real images of a step, and their pixels as the networks see them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Batch(NamedTuple):
    """The real images of one step, as numpy slices of this process or as global jax arrays.

    Attributes:
      images: [S, B, H, W, 3] uint8, S discriminator updates of B images.
      labels: [S, B] int32 in [0, num_classes).
    """

    images: np.ndarray | jax.Array
    labels: np.ndarray | jax.Array


def to_signed_float(images: jax.Array) -> jax.Array:
    """Scales uint8 0..255 to float32 -1..1."""
    return images.astype(jnp.float32) * (2 / 255) - 1


def to_uint8(images: jax.Array) -> jax.Array:
    """Scales float -1..1 to uint8 0..255, rounded; the inverse of `to_signed_float`."""
    return jnp.clip(jnp.round((images + 1) * 127.5), 0, 255).astype(jnp.uint8)


def random_flip(images: jax.Array, key: jax.Array) -> jax.Array:
    """Mirrors each image of [B, H, W, C] left to right with probability 1/2."""
    mirrored = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)
