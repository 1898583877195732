"""KID: the squared maximum mean discrepancy with a cubic kernel, unbiased at any number of samples."""

from typing import NamedTuple

import numpy as np


class KernelDistance(NamedTuple):
    """KID and how sure it is.

    Attributes:
      mean: over the subsets.
      standard_error: of that mean.
    """

    mean: float
    standard_error: float


def kernel_distance(
    real: np.ndarray, fake: np.ndarray, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """Mean over random subsets of the unbiased estimate.

    Args:
      real, fake: features [N, D], [M, D].
      subsets, subset_size: as in the authors' code; the size is at most N and M.
      seed: draws the subsets, without replacement within one.

    Reference: Binkowski et al. 2018 (arXiv:1801.01401), section 4; kernel (x.y / D + 1)^3.
    """
    random = np.random.default_rng(seed)
    size = min(subset_size, len(real), len(fake))
    values = [
        squared_mmd(real[random.choice(len(real), size, False)], fake[random.choice(len(fake), size, False)])
        for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(subsets)))


def squared_mmd(real: np.ndarray, fake: np.ndarray) -> float:
    """The unbiased estimate for equally many features [n, D] of both kinds, n >= 2, in float64."""
    x, y = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    n = len(x)
    within = sum((_kernel(z, z).sum() - _kernel_of_itself(z).sum()) / (n * (n - 1)) for z in (x, y))
    return float(within - 2 * _kernel(x, y).mean())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _kernel_of_itself(x: np.ndarray) -> np.ndarray:
    return ((x * x).sum(axis=1) / x.shape[1] + 1) ** 3
