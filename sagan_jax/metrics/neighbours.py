"""Precision, recall, density and coverage from nearest neighbours, block by block in bounded memory."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BLOCK = 4096  # features of each side at a time, which have 64 MB of distances


class Fidelity(NamedTuple):
    """How real generated features are, and how much of the real ones they reach; all in [0, 1] but density.

    Attributes:
      precision: fraction of fake features within the k-th neighbour radius of some real one.
      recall: fraction of real features within the k-th neighbour radius of some fake one.
      density: mean number of real balls around a fake feature, over k.
      coverage: fraction of real balls that hold a fake feature.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def fidelity(
    real: np.ndarray,
    fake: np.ndarray,
    *,
    precision_k: int = 3,
    density_k: int = 5,
    real_radii: np.ndarray | None = None,
) -> Fidelity:
    """All four measures.

    Args:
      real, fake: features [N, D], [M, D], with more than `density_k` rows each.
      precision_k: neighbours for precision and recall (3 in Kynkaanniemi et al. 2019, arXiv:1904.06991).
      density_k: neighbours for density and coverage (5 in Naeem et al. 2020, arXiv:2002.09797).
      real_radii: `squared_radii(real, (precision_k, density_k))` where they are known.
    """
    if real_radii is None:
        real_radii = squared_radii(real, (precision_k, density_k))
    fake_radii = squared_radii(fake, (precision_k,))[:, 0]
    precise, recalled, covered = np.zeros(len(fake), bool), np.zeros(len(real), bool), np.zeros(len(real), bool)
    balls = 0
    for rows, columns, distances in squared_distances(real, fake):
        precise[columns] |= (distances <= real_radii[rows, :1]).any(axis=0)
        recalled[rows] |= (distances <= fake_radii[columns]).any(axis=1)
        inside = distances <= real_radii[rows, 1:]
        covered[rows] |= inside.any(axis=1)
        balls += int(inside.sum())
    return Fidelity(
        float(precise.mean()), float(recalled.mean()), balls / (density_k * len(fake)), float(covered.mean())
    )


def squared_radii(features: np.ndarray, ks: tuple[int, ...]) -> np.ndarray:
    """Squared distances [N, len(ks)] from each feature [N, D] to its k-th nearest other one, for each k < N."""
    most = max(ks)
    smallest = np.full((len(features), most + 1), np.inf, np.float32)
    for rows, columns, distances in squared_distances(features, features):
        if rows == columns:
            np.fill_diagonal(distances, -1)  # itself comes first
        known = np.concatenate([smallest[rows], distances], axis=1)
        known.partition(most, axis=1)
        smallest[rows] = known[:, : most + 1]
    smallest.sort(axis=1)
    return smallest[:, ks]


def nearest(queries: np.ndarray, features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices [Q, count] of the features [N, D] nearest to each query [Q, D], and their distances, nearest first.

    Where there are fewer than `count` features, all of them.
    """
    count = min(count, len(features))
    squares = np.full((len(queries), count), np.inf, np.float32)
    indices = np.zeros((len(queries), count), int)
    for rows, columns, distances in squared_distances(queries, features):
        found = np.broadcast_to(np.arange(columns.start, columns.stop), distances.shape)
        known_squares = np.concatenate([squares[rows], distances], axis=1)
        known_indices = np.concatenate([indices[rows], found], axis=1)
        order = np.argsort(known_squares, axis=1, kind="stable")[:, :count]
        squares[rows] = np.take_along_axis(known_squares, order, axis=1)
        indices[rows] = np.take_along_axis(known_indices, order, axis=1)
    return indices, np.sqrt(squares)


def squared_distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """The squared Euclidean distances of x [N, D] and y [M, D], either of which may be mapped from a file.

    Yields:
      rows of x, rows of y, and their distances [n, m] float32, which the caller may overwrite.
    """
    # Centred by what is near the mean, so that little is lost in |x|^2 + |y|^2 - 2 x.y.
    centre = np.asarray(y[:BLOCK], np.float32).mean(axis=0)
    for rows in _blocks(len(x)):
        of_x = np.asarray(x[rows], np.float32) - centre
        x_norms = np.einsum("nd,nd->n", of_x, of_x)[:, None]
        for columns in _blocks(len(y)):
            of_y = np.asarray(y[columns], np.float32) - centre
            distances = of_x @ of_y.T
            distances *= -2
            distances += np.einsum("md,md->m", of_y, of_y)
            distances += x_norms
            yield rows, columns, np.maximum(distances, 0, out=distances)


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK):
        yield slice(start, min(start + BLOCK, count))
