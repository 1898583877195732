"""Ways between images: through the latents, and from class to class."""

import itertools
from typing import Any

import numpy as np

from sagan_jax.sampling.mixing import mixed_classes
from sagan_jax.sampling.model import Model
from sagan_jax.sampling.paths import slerp


def between_latents(model: Model, latents: np.ndarray, labels: np.ndarray, frames: int) -> np.ndarray:
    """From each latent to the next and back to the first, for each class at once.

    Args:
      model: to make the images with.
      latents: [K, Z].
      labels: [R], of the classes.
      frames: per way.

    Returns:
      [R, K * frames, H, W, 3] uint8.
    """
    path = np.stack([slerp(start, end, fraction) for start, end in _ways(latents) for fraction in _fractions(frames)])
    images = model.sampler.images(model.variables, np.tile(path, (len(labels), 1)), np.repeat(labels, len(path)))
    return images.reshape(len(labels), len(path), *images.shape[1:])


def between_classes(model: Model, latents: np.ndarray, labels: np.ndarray, frames: int) -> np.ndarray:
    """From each class to the next and back to the first, for each latent at once.

    Args:
      model: to make the images with.
      latents: [R, Z].
      labels: [K], of the classes.
      frames: per way.

    Returns:
      [R, K * frames, H, W, 3] uint8.
    """
    mixed = np.zeros(len(latents), np.int32)  # the label of a mixture
    columns = [
        model.sampler.images(mixed_classes(model.variables, first, second, fraction), latents, mixed)
        for first, second in _ways(labels)
        for fraction in _fractions(frames)
    ]
    return np.stack(columns, axis=1)


def _ways(points: np.ndarray) -> list[tuple[Any, Any]]:
    return list(itertools.pairwise([*points, points[0]]))


def _fractions(frames: int) -> np.ndarray:
    return np.arange(frames) / frames
