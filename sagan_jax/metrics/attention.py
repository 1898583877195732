"""Attention as numbers: how spread out it is, and how far it looks."""

import numpy as np


def attention_entropy(weights: np.ndarray) -> np.ndarray:
    """Entropy of each query's attention, in nats: 0 looks at one position, log M at all M alike.

    Args:
      weights: [N, L, M], rows sum to 1.

    Returns:
      [N, L] float32.
    """
    return -np.sum(weights * np.log(np.maximum(weights, np.finfo(np.float32).tiny)), axis=-1)


def attention_distance(weights: np.ndarray, resolution: int) -> np.ndarray:
    """How far from itself each query looks on average, in pixels of the image.

    Args:
      weights: [N, L, M], rows sum to 1; L and M are squares of feature map sides.
      resolution: side of the image.

    Returns:
      [N, L] float32: the distances from the query's centre to the centres of the key positions, weighted.
    """
    queries, keys = (centres(count, resolution) for count in weights.shape[1:])
    distances_LM = np.linalg.norm(queries[:, None] - keys[None], axis=-1).astype(np.float32)
    return np.einsum("nlm,lm->nl", weights, distances_LM)


def centres(count: int, resolution: int) -> np.ndarray:
    """Centres (x, y) in image pixels of the `count` positions of a square feature map, row by row; [count, 2]."""
    side = round(count**0.5)
    along = (np.arange(side) + 0.5) * (resolution / side)
    return np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
