"""Mean and covariance of features in float64, from parts of any size."""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np
import scipy.linalg
from jaxtyping import Float, Float64


@dataclasses.dataclass(frozen=True)
class Moments:
    """Moments of N feature vectors.

    Attributes:
      count: N.
      mean: [D] float64.
      scatter: [D, D] float64, the sum of (x - mean)(x - mean)^T.
    """

    count: int
    mean: Float64[np.ndarray, " dimensions"]
    scatter: Float64[np.ndarray, "dimensions dimensions"]

    @property
    def covariance(self) -> Float64[np.ndarray, "dimensions dimensions"]:
        """Returns the unbiased covariance [D, D] float64, with divisor N - 1 as in numpy.cov and all FID programs."""
        return self.scatter / (self.count - 1)

    @functools.cached_property
    def covariance_factor(self) -> Float64[np.ndarray, "dimensions rank"]:
        """Returns the `factor` [D, rank] float64 of the covariance, computed once."""
        return factor(self.covariance)


def moments_of(features: Float[np.ndarray, "images dimensions"]) -> Moments:
    """Computes the moments of features [N, D], N >= 1."""
    rows = np.asarray(features, np.float64)
    mean = rows.mean(axis=0)
    centred = rows - mean
    return Moments(len(rows), mean, centred.T @ centred)


def merged(parts: Iterable[Moments]) -> Moments:
    """Merges the moments of disjoint sets of features to those of their union.

    Reference: Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
    """
    whole, *rest = parts
    for part in rest:
        count = whole.count + part.count
        step = part.mean - whole.mean
        scatter = whole.scatter + part.scatter + np.outer(step, step) * (whole.count * part.count / count)
        whole = Moments(count, whole.mean + step * (part.count / count), scatter)
    return whole


def factor(covariance: Float64[np.ndarray, "dimensions dimensions"]) -> Float64[np.ndarray, "dimensions rank"]:
    """Returns F [D, rank] float64 with F F^T = C of a covariance C [D, D], by Cholesky's method with pivoting.

    What is left of a singular covariance when its rank is reached is rounding, and is dropped.
    """
    lower, pivots, rank, _ = scipy.linalg.lapack.dpstrf(covariance, lower=1)
    factored = np.zeros((len(covariance), rank))
    factored[pivots - 1] = np.tril(lower)[:, :rank]
    return factored
