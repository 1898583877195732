"""Ways from one latent to another."""

import numpy as np

NEARLY_PARALLEL = 1e-4  # radians; below it the two interpolations are the same but for rounding


def slerp(start: np.ndarray, end: np.ndarray, fraction: float) -> np.ndarray:
    """The point a fraction of the way along the arc between two latents, lengths changing evenly.

    A straight line between two normal latents passes where hardly any latent lies: too near to the origin.

    Args:
      start, end: [..., Z].
      fraction: 0 is `start`, 1 is `end`.

    Returns:
      [..., Z] float32.

    Reference: White 2016 (arXiv:1609.04468), section 2.1.
    """
    lengths = [np.linalg.norm(latent, axis=-1, keepdims=True) for latent in (start, end)]
    first, second = (latent / np.maximum(length, 1e-12) for latent, length in zip((start, end), lengths, strict=True))
    angle = np.arccos(np.clip(np.sum(first * second, axis=-1, keepdims=True), -1, 1))
    safe = np.where(angle < NEARLY_PARALLEL, 1.0, np.sin(angle))
    along = np.where(
        angle < NEARLY_PARALLEL,
        (1 - fraction) * first + fraction * second,
        (np.sin((1 - fraction) * angle) * first + np.sin(fraction * angle) * second) / safe,
    )
    return (along * ((1 - fraction) * lengths[0] + fraction * lengths[1])).astype(np.float32)
