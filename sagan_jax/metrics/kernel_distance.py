"""KID: the squared maximum mean discrepancy with a cubic kernel, unbiased at any number of samples."""

from typing import NamedTuple

import numpy as np

GROUPS = 20  # of each kind, for the standard error
FEWEST_OF_A_GROUP = 2


class KernelDistance(NamedTuple):
    """KID and how sure it is.

    Attributes:
      value: the unbiased estimate.
      std_error: of it, or None where there are too few images for one.
    """

    value: float
    std_error: float | None


class _KernelSums(NamedTuple):
    """Sums of the kernel over pairs of a group and a group; pairs of an image with itself are left out.

    Attributes:
      real, fake, between: [G, G] float64, pairs within the kinds, and of a real (first axis) and a fake one.
      real_sizes, fake_sizes: [G] images of each group.
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


def kernel_distance(real: np.ndarray, fake: np.ndarray) -> KernelDistance:
    """The unbiased estimate from all features, which the usual mean over random subsets estimates with more noise.

    Its standard error is a jackknife that leaves out one of GROUPS groups of real or of fake images at a time. Where
    both are of the same distribution it is too large by a factor of up to sqrt(2), else right on average.

    Args:
      real, fake: features [N, D], [M, D], at least 2 of each. Only blocks of a group and a group are held in float64.

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
    if min(len(real), len(fake)) < GROUPS * FEWEST_OF_A_GROUP:
        return KernelDistance(sums.squared_mmd(), None)
    variance = sum(
        (GROUPS - 1) * np.var([without(group).squared_mmd() for group in range(GROUPS)])
        for without in (sums.without_real, sums.without_fake)
    )
    return KernelDistance(sums.squared_mmd(), float(np.sqrt(variance)))


def _groups(count: int) -> list[np.ndarray]:
    """Indices of the features of each group, drawn: generated classes take turns, so consecutive ones are no sample."""
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
