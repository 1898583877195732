"""Doubling and halving the side of a feature map."""

import jax
import jax.numpy as jnp


def upsample(x: jax.Array) -> jax.Array:
    """Repeats each pixel in a 2x2 square, [B, H, W, C] -> [B, 2H, 2W, C]."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


def mean_pool(x: jax.Array) -> jax.Array:
    """Averages each 2x2 square, [B, 2H, 2W, C] -> [B, H, W, C]."""
    return _squares(x).mean(axis=(2, 4))


def max_pool(x: jax.Array) -> jax.Array:
    """Takes the largest of each 2x2 square, [B, 2H, 2W, C] -> [B, H, W, C]."""
    return _squares(x).max(axis=(2, 4))


def _squares(x: jax.Array) -> jax.Array:
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels)
