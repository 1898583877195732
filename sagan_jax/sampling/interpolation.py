"""Interpolations: between latents along an arc, and between classes by mixing their gains and biases."""

import itertools
from typing import Any

import jax
import numpy as np

from sagan_jax.sampling.model import Model
from sagan_jax.sampling.sampler import Tree

NEARLY_PARALLEL = 1e-4  # radians; below it the arc is a straight line but for rounding


def interpolate_latents(model: Model, latents: np.ndarray, labels: np.ndarray, frames: int) -> np.ndarray:
    """Makes images from each latent to the next and back to the first, for each class.

    Args:
      model: that makes the images.
      latents: [K, Z].
      labels: [R], of the classes.
      frames: images from one latent to the next.

    Returns:
      [R, K * frames, H, W, 3] uint8.
    """
    path = np.stack([slerp(start, end, fraction) for start, end in _pairs(latents) for fraction in _fractions(frames)])
    images = model.sampler.images(model.variables, np.tile(path, (len(labels), 1)), np.repeat(labels, len(path)))
    return images.reshape(len(labels), len(path), *images.shape[1:])


def interpolate_classes(model: Model, latents: np.ndarray, labels: np.ndarray, frames: int) -> np.ndarray:
    """Makes images from each class to the next and back to the first, for each latent.

    Args:
      model: that makes the images.
      latents: [R, Z].
      labels: [K], of the classes.
      frames: images from one class to the next.

    Returns:
      [R, K * frames, H, W, 3] uint8.
    """
    mixed = np.zeros(len(latents), np.int32)  # the label of a mixture
    columns = [
        model.sampler.images(mixed_classes(model.variables, first, second, fraction), latents, mixed)
        for first, second in _pairs(labels)
        for fraction in _fractions(frames)
    ]
    return np.stack(columns, axis=1)


def mixed_classes(variables: Tree, first: int, second: int, fraction: float) -> Tree:
    """Returns the generator's variables with label 0 as a mixture of two classes.

    Args:
      variables: of a class-conditional generator.
      first, second: labels.
      fraction: of the second class; 0 is the first alone.
    """

    def mixed(path: Any, value: jax.Array) -> jax.Array:
        parent, name = path[-2].key, path[-1].key
        is_table = (name in ("scale", "bias") and value.ndim == 2) or parent == "embedding"  # [classes, C]
        return value.at[0].set((1 - fraction) * value[first] + fraction * value[second]) if is_table else value

    return variables | {"params": jax.tree_util.tree_map_with_path(mixed, variables["params"])}


def slerp(start: np.ndarray, end: np.ndarray, fraction: float) -> np.ndarray:
    """Interpolates spherically between two latents; their lengths are interpolated linearly.

    A straight line between two normal latents passes too near to the origin, where hardly any latent lies.

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


def _pairs(points: np.ndarray) -> list[tuple[Any, Any]]:
    return list(itertools.pairwise([*points, points[0]]))


def _fractions(frames: int) -> np.ndarray:
    return np.arange(frames) / frames
