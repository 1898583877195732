"""Precision, recall, density and coverage by nearest neighbours, in blocks of bounded memory."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

BLOCK = 2048  # features of each side at a time, with 32 MB of distances


class Fidelity(NamedTuple):
    """Measures of fidelity (precision, density) and diversity (recall, coverage); all in [0, 1] except density.

    A ball is the neighbourhood of a feature up to its k-th nearest neighbour among those of the same kind. As in the
    authors' programs, its edge belongs to it for precision and recall, not for density and coverage.

    Attributes:
      precision: fraction of fake features in the ball of some real one.
      recall: fraction of real features in the ball of some fake one.
      density: mean number of real balls that contain a fake feature, divided by k.
      coverage: fraction of real balls that contain a fake feature.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def fidelity(
    real: Float[np.ndarray, "real dimensions"],
    fake: Float[np.ndarray, "fake dimensions"],
    *,
    precision_k: int = 3,
    density_k: int = 5,
    real_radii: Float64[np.ndarray, "real 2"] | None = None,
) -> Fidelity:
    """Computes all four measures.

    Args:
      real, fake: features [N, D], [M, D], with more than `density_k` rows each.
      precision_k: k of precision and recall; 3 in Kynkaanniemi et al. 2019.
      density_k: k of density and coverage; 5 in Naeem et al. 2020.
      real_radii: `squared_radii(real, (precision_k, density_k))`, if already computed.

    Reference: Kynkaanniemi et al. 2019 (arXiv:1904.06991), section 2; Naeem et al. 2020 (arXiv:2002.09797), section 3.
    """
    if real_radii is None:
        real_radii = squared_radii(real, (precision_k, density_k))
    fake_radii = squared_radii(fake, (precision_k,))[:, 0]
    precise, recalled, covered = np.zeros(len(fake), bool), np.zeros(len(real), bool), np.zeros(len(real), bool)
    balls = 0
    for rows, columns, distances in squared_distances(real, fake):
        precise[columns] |= (distances <= real_radii[rows, :1]).any(axis=0)
        recalled[rows] |= (distances <= fake_radii[columns]).any(axis=1)
        inside = distances < real_radii[rows, 1:]
        covered[rows] |= inside.any(axis=1)
        balls += int(inside.sum())
    return Fidelity(
        float(precise.mean()), float(recalled.mean()), balls / (density_k * len(fake)), float(covered.mean())
    )


def squared_radii(
    features: Float[np.ndarray, "images dimensions"], ks: tuple[int, ...]
) -> Float64[np.ndarray, "images {len(ks)}"]:
    """Computes the squared distances [N, len(ks)] float64 of each feature [N, D] to its k-th nearest other, k < N."""
    largest_k = max(ks)
    smallest = np.full((len(features), largest_k + 1), np.inf)
    for rows, columns, distances in squared_distances(features, features):
        if rows == columns:
            np.fill_diagonal(distances, -1)  # puts the feature itself at index 0
        known = np.concatenate([smallest[rows], distances], axis=1)
        known.partition(largest_k, axis=1)
        smallest[rows] = known[:, : largest_k + 1]
    smallest.sort(axis=1)
    return smallest[:, ks]


def nearest(
    queries: Float[np.ndarray, "queries dimensions"], features: Float[np.ndarray, "images dimensions"], count: int
) -> tuple[Int[np.ndarray, "queries found"], Float64[np.ndarray, "queries found"]]:
    """Finds the min(count, N) features [N, D] nearest to each query [Q, D].

    Returns:
      Indices [Q, min(count, N)] and Euclidean distances float64 of the same shape, nearest first.
    """
    count = min(count, len(features))
    squares = np.full((len(queries), count), np.inf)
    indices = np.zeros((len(queries), count), int)
    for rows, columns, distances in squared_distances(queries, features):
        found = np.broadcast_to(np.arange(columns.start, columns.stop), distances.shape)
        known_squares = np.concatenate([squares[rows], distances], axis=1)
        known_indices = np.concatenate([indices[rows], found], axis=1)
        order = np.argsort(known_squares, axis=1, kind="stable")[:, :count]
        squares[rows] = np.take_along_axis(known_squares, order, axis=1)
        indices[rows] = np.take_along_axis(known_indices, order, axis=1)
    return indices, np.sqrt(squares)


def squared_distances(
    x: Float[np.ndarray, "left dimensions"], y: Float[np.ndarray, "right dimensions"]
) -> Iterator[tuple[slice, slice, Float64[np.ndarray, "rows columns"]]]:
    """Computes the squared Euclidean distances of x [N, D] and y [M, D], which may be mapped from files.

    Yields:
      Rows of x, rows of y, and their distances [n, m] float64, which the caller may overwrite; 0 of equal features.
    """
    # |x|^2 + |y|^2 - 2 x.y cancels where features are closer to each other than to the centre: in float64, and what is
    # no more than rounding is 0.
    centre = np.asarray(y[:BLOCK], np.float64).mean(axis=0)
    rounding = 2 * x.shape[1] * np.finfo(np.float64).eps
    for rows in _blocks(len(x)):
        of_x = np.asarray(x[rows], np.float64) - centre
        x_norms = np.einsum("nd,nd->n", of_x, of_x)[:, None]
        for columns in _blocks(len(y)):
            of_y = np.asarray(y[columns], np.float64) - centre
            norms = x_norms + np.einsum("md,md->m", of_y, of_y)
            distances = of_x @ of_y.T
            distances *= -2
            distances += norms
            distances[distances <= rounding * norms] = 0
            yield rows, columns, distances


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK):
        yield slice(start, min(start + BLOCK, count))
