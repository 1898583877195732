"""Between uint8 pixels and what the networks see; all of it on the device."""

import jax
import jax.numpy as jnp


def to_signed_float(images: jax.Array) -> jax.Array:
    """uint8 0..255 -> float32 -1..1."""
    return images.astype(jnp.float32) * (2 / 255) - 1


def to_uint8(images: jax.Array) -> jax.Array:
    """float -1..1 -> uint8 0..255, rounded; the inverse of `to_signed_float`."""
    return jnp.clip(jnp.round((images + 1) * 127.5), 0, 255).astype(jnp.uint8)


def random_flip(images: jax.Array, key: jax.Array) -> jax.Array:
    """Mirrors each image of [B, H, W, C] left to right with probability 1/2."""
    mirrored = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)
