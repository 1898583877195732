"""Precision, recall, density and coverage from nearest neighbours, block by block in bounded memory."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BLOCK_NUMBERS = 50_000_000  # float32 distances held at a time: 200 MB


class Fidelity(NamedTuple):
    """How real generated features are, and how much of the real ones they reach; all in [0, 1] but density.

    Attributes:
      precision: share of fake features within the k-th neighbour radius of some real one.
      recall: share of real features within the k-th neighbour radius of some fake one.
      density: mean number of real balls around a fake feature, over k.
      coverage: share of real balls that hold a fake feature.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def fidelity(real: np.ndarray, fake: np.ndarray, *, precision_k: int = 3, density_k: int = 5) -> Fidelity:
    """All four measures.

    Args:
      real, fake: features [N, D], [M, D], with more than `density_k` rows each.
      precision_k: neighbours for precision and recall (3 in Kynkaanniemi et al. 2019, arXiv:1904.06991).
      density_k: neighbours for density and coverage (5 in Naeem et al. 2020, arXiv:2002.09797).
    """
    real, fake = np.asarray(real, np.float32), np.asarray(fake, np.float32)
    real_radii = squared_radii(real, (precision_k, density_k))
    fake_radii = squared_radii(fake, (precision_k,))[:, 0]
    precise, recalled, covered = np.zeros(len(fake), bool), np.zeros(len(real), bool), np.zeros(len(real), bool)
    balls = 0
    for rows, distances in squared_distances(real, fake):
        precise |= (distances <= real_radii[rows, :1]).any(axis=0)
        recalled[rows] = (distances <= fake_radii).any(axis=1)
        inside = distances <= real_radii[rows, 1:]
        covered[rows] = inside.any(axis=1)
        balls += int(inside.sum())
    return Fidelity(
        float(precise.mean()), float(recalled.mean()), balls / (density_k * len(fake)), float(covered.mean())
    )


def squared_radii(features: np.ndarray, ks: tuple[int, ...]) -> np.ndarray:
    """Squared distances [N, len(ks)] from each feature [N, D] to its k-th nearest other one, for each k."""
    radii = np.empty((len(features), len(ks)), np.float32)
    for rows, distances in squared_distances(features, features):
        distances[np.arange(len(distances)), np.arange(rows.start, rows.stop)] = -1  # itself comes first
        distances.partition(ks, axis=1)
        radii[rows] = distances[:, ks]
    return radii


def nearest(queries: np.ndarray, features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices [Q, count] of the features [N, D] nearest to each query [Q, D], and their distances, nearest first."""
    indices, distances = [], []
    for _, squares in squared_distances(np.asarray(queries, np.float32), np.asarray(features, np.float32)):
        order = np.argsort(squares, axis=1)[:, :count]
        indices.append(order)
        distances.append(np.sqrt(np.take_along_axis(squares, order, axis=1)))
    return np.concatenate(indices), np.concatenate(distances)


def squared_distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of rows of the squared Euclidean distances [N, M] float32 of x [N, D] and y [M, D]."""
    # Centred, so that little is lost in |x|^2 + |y|^2 - 2 x.y.
    centre = y.mean(axis=0)
    y = y - centre
    y_norms = np.einsum("md,md->m", y, y)
    height = max(1, BLOCK_NUMBERS // len(y))
    for start in range(0, len(x), height):
        rows = slice(start, min(start + height, len(x)))
        block = x[rows] - centre
        distances = block @ y.T
        distances *= -2
        distances += y_norms
        distances += np.einsum("nd,nd->n", block, block)[:, None]
        yield rows, np.maximum(distances, 0, out=distances)
