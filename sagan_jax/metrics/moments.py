"""Mean and covariance of features in one pass, in float64, mergeable in any grouping."""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Moments:
    """Moments of N feature vectors.

    Attributes:
      count: N.
      mean: [D] float64.
      scatter: [D, D] float64, the sum of (x - mean)(x - mean)^T.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """[D, D] float64, unbiased: divided by N - 1, as numpy.cov and every FID program do."""
        return self.scatter / (self.count - 1)

    @functools.cached_property
    def covariance_root(self) -> np.ndarray:
        """[D, D] float64, the `symmetric_root` of the covariance, computed once."""
        return symmetric_root(self.covariance)


def moments_of(features: np.ndarray) -> Moments:
    """The moments of features [N, D], N >= 1."""
    rows = np.asarray(features, np.float64)
    mean = rows.mean(axis=0)
    centred = rows - mean
    return Moments(len(rows), mean, centred.T @ centred)


def merged(parts: Iterable[Moments]) -> Moments:
    """The moments of the union of disjoint sets of features.

    Reference: Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
    """
    whole, *rest = parts
    for part in rest:
        count = whole.count + part.count
        step = part.mean - whole.mean
        scatter = whole.scatter + part.scatter + np.outer(step, step) * (whole.count * part.count / count)
        whole = Moments(count, whole.mean + step * (part.count / count), scatter)
    return whole


def symmetric_root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric R [D, D] with R R = C of a covariance C; what rounding has made negative counts as 0."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
