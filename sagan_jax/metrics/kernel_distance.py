"""The kernel inception distance (KID): an unbiased estimate of the squared maximum mean discrepancy, cubic kernel."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

GROUPS = 20  # of real and of fake features, for the standard error
MIN_GROUP_SIZE = 2


class KernelDistance(NamedTuple):
    """KID with its standard error.

    Attributes:
      value: the unbiased estimate; may be negative.
      std_error: its standard error, or None if there are too few images.
    """

    value: float
    std_error: float | None


class _KernelSums(NamedTuple):
    """Sums of the kernel over pairs of images of two groups, excluding pairs of an image with itself.

    Attributes:
      real, fake: [G, G] float64, two groups of real images, two groups of fake images.
      between: [G, G] float64, a group of real images (first axis) and one of fake images.
      real_sizes, fake_sizes: [G] number of images of each group.
    """

    real: np.ndarray
    fake: np.ndarray
    between: np.ndarray
    real_sizes: np.ndarray
    fake_sizes: np.ndarray

    def squared_mmd(self) -> float:
        n, m = int(self.real_sizes.sum()), int(self.fake_sizes.sum())
        within = self.real.sum() / (n * (n - 1)) + self.fake.sum() / (m * (m - 1))
        return float(within - 2 * self.between.sum() / (n * m))

    def without_real(self, group: int) -> "_KernelSums":
        return self._replace(
            real=np.delete(np.delete(self.real, group, 0), group, 1),
            between=np.delete(self.between, group, 0),
            real_sizes=np.delete(self.real_sizes, group),
        )

    def without_fake(self, group: int) -> "_KernelSums":
        return self._replace(
            fake=np.delete(np.delete(self.fake, group, 0), group, 1),
            between=np.delete(self.between, group, 1),
            fake_sizes=np.delete(self.fake_sizes, group),
        )


def kernel_distance(
    real: Float[np.ndarray, "real dimensions"], fake: Float[np.ndarray, "fake dimensions"]
) -> KernelDistance:
    """Computes the unbiased estimate from all features in float64.

    The usual mean over random subsets estimates the same with more noise. The standard error is a delete-a-group
    jackknife, over GROUPS groups of real and of fake images. If both have the same distribution it is too large by a
    factor of up to sqrt(2), else it is right on average.

    Args:
      real, fake: features [N, D], [M, D], at least 2 of each; two groups at a time are copied to float64.

    Reference: Binkowski et al. 2018 (arXiv:1801.01401), section 4; kernel (x.y / D + 1)^3. Gretton et al. 2012, "A
    Kernel Two-Sample Test", lemma 6. Efron & Stein 1981, "The Jackknife Estimate of Variance".
    """
    real_groups, fake_groups = _groups(len(real)), _groups(len(fake))
    sums = _KernelSums(
        _sums_within(real, real_groups),
        _sums_within(fake, fake_groups),
        np.array([[_kernel(_rows(real, i), _rows(fake, j)).sum() for j in fake_groups] for i in real_groups]),
        np.array([len(group) for group in real_groups]),
        np.array([len(group) for group in fake_groups]),
    )
    if min(len(real), len(fake)) < GROUPS * MIN_GROUP_SIZE:
        return KernelDistance(sums.squared_mmd(), None)
    variance = sum(
        (GROUPS - 1) * np.var([without(group).squared_mmd() for group in range(GROUPS)])
        for without in (sums.without_real, sums.without_fake)
    )
    return KernelDistance(sums.squared_mmd(), float(np.sqrt(variance)))


def _groups(count: int) -> list[np.ndarray]:
    """Draws the indices of each group at random, since generated classes alternate: a range is no random sample."""
    parts = np.array_split(np.random.default_rng(0).permutation(count), min(GROUPS, count))
    return [np.sort(part) for part in parts]


def _rows(features: np.ndarray, group: np.ndarray) -> np.ndarray:
    return np.asarray(features[group], np.float64)


def _sums_within(features: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    sums = np.empty((len(groups), len(groups)))
    for i, group in enumerate(groups):
        rows = _rows(features, group)
        kernel = _kernel(rows, rows)
        sums[i, i] = kernel.sum() - np.trace(kernel)
        for j in range(i):
            sums[i, j] = sums[j, i] = _kernel(rows, _rows(features, groups[j])).sum()
    return sums


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    linear = x @ y.T / x.shape[1] + 1
    return linear * linear * linear  # several times quicker than a power
