"""The Frechet distance between Gaussians fitted to features; on Inception's 2048 pooled features it is the FID."""

import dataclasses
import functools
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, Integer

from sagan_jax.metrics.moments import factor, moments_of

FEWEST_WITHIN_A_CLASS = 2  # real and generated images of a class, for covariances


@runtime_checkable
class Gaussian(Protocol):
    """A mean [D], a covariance [D, D] and its factor [D, rank], all float64, such as those of `Moments`."""

    @property
    def mean(self) -> Float64[np.ndarray, " dimensions"]: ...

    @property
    def covariance(self) -> Float64[np.ndarray, "dimensions dimensions"]: ...

    @property
    def covariance_factor(self) -> Float64[np.ndarray, "dimensions rank"]: ...


@dataclasses.dataclass(frozen=True)
class Statistics:
    """A mean [D] and a covariance [D, D] float64 without the number of images, such as from another program's file."""

    mean: Float64[np.ndarray, " dimensions"]
    covariance: Float64[np.ndarray, "dimensions dimensions"]

    @functools.cached_property
    def covariance_factor(self) -> Float64[np.ndarray, "dimensions rank"]:
        """See `Moments.covariance_factor`."""
        return factor(self.covariance)


def frechet_distance(real: Gaussian, fake: Gaussian) -> float:
    """Computes |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) in float64, clipped at 0.

    With C1 = A A^T and C2 = B B^T the trace of the root is the sum of the singular values of A^T B: there is no root to
    take of an eigenvalue that is 0 but for rounding, and no imaginary part to discard.

    Reference: Dowson & Landau 1982, "The Frechet Distance between Multivariate Normal Distributions"; Heusel et al.
    2017 (arXiv:1706.08500), eq. 6.
    """
    difference = real.mean - fake.mean
    trace_of_root = np.linalg.norm(real.covariance_factor.T @ fake.covariance_factor, "nuc")
    distance = difference @ difference + np.trace(real.covariance) + np.trace(fake.covariance) - 2 * trace_of_root
    return float(max(distance, 0))


def frechet_distance_of_features(
    real: Float[np.ndarray, "real dimensions"], fake: Float[np.ndarray, "fake dimensions"]
) -> float:
    """Computes `frechet_distance` from features [N, D], [M, D], which is cheaper if N or M is smaller than D.

    Centred features are factors of their covariances, and A^T B is [N, M].
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    difference = real.mean(axis=0) - fake.mean(axis=0)
    a = (real - real.mean(axis=0)) / np.sqrt(len(real) - 1)
    b = (fake - fake.mean(axis=0)) / np.sqrt(len(fake) - 1)
    distance = difference @ difference + (a * a).sum() + (b * b).sum() - 2 * np.linalg.norm(a @ b.T, "nuc")
    return float(max(distance, 0))


def intra_class_distances(
    real: Float[np.ndarray, "real dimensions"],
    real_labels: Integer[np.ndarray, " real"],
    fake: Float[np.ndarray, "fake dimensions"],
    fake_labels: Integer[np.ndarray, " fake"],
) -> dict[int, float]:
    """Computes the Frechet distance within each class of at least two real and two generated images, by label.

    Their mean is the intra-class FID of Miyato & Koyama 2018 (arXiv:1802.05637), which Zhang et al. report.

    Args:
      real, fake: features [N, D], [M, D].
      real_labels, fake_labels: [N], [M] int.
    """
    distances = {}
    for label in np.intersect1d(real_labels, fake_labels):
        of_real, of_fake = real[real_labels == label], fake[fake_labels == label]
        if min(len(of_real), len(of_fake)) < FEWEST_WITHIN_A_CLASS:
            continue
        if min(len(of_real), len(of_fake)) < real.shape[1]:
            distances[int(label)] = frechet_distance_of_features(of_real, of_fake)
        else:
            distances[int(label)] = frechet_distance(moments_of(of_real), moments_of(of_fake))
    return distances
