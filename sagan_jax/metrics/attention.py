"""Entropy and mean distance of attention."""

import numpy as np
from jaxtyping import Float


def attention_entropy(weights: Float[np.ndarray, "images queries keys"]) -> Float[np.ndarray, "images queries"]:
    """Computes the entropy of each query's attention in nats, from 0 (a single key) to log M (uniform over M keys).

    Args:
      weights: [N, L, M] float32, rows sum to 1.

    Returns:
      [N, L] float32.
    """
    return -np.sum(weights * np.log(np.maximum(weights, np.finfo(np.float32).tiny)), axis=-1)


def attention_distance(
    weights: Float[np.ndarray, "images queries keys"], resolution: int
) -> Float[np.ndarray, "images queries"]:
    """Computes the mean distance of each query to its keys, weighted by attention, in pixels of the image.

    Args:
      weights: [N, L, M] float32, rows sum to 1; L and M are the squares of the sides of feature maps.
      resolution: side of the image in pixels.

    Returns:
      [N, L] float32, measured between the centres of positions.
    """
    queries, keys = (centres(count, resolution) for count in weights.shape[1:])
    distances_LM = np.linalg.norm(queries[:, None] - keys[None], axis=-1).astype(np.float32)
    return np.einsum("nlm,lm->nl", weights, distances_LM)


def centres(count: int, resolution: int) -> Float[np.ndarray, "{count} 2"]:
    """Returns the centres (x, y) [count, 2] in image pixels of the positions of a square feature map, row by row."""
    side = round(count**0.5)
    along = (np.arange(side) + 0.5) * (resolution / side)
    return np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
