"""The Inception Score: how sure a classifier is of each image, and how many classes it sees."""

from typing import NamedTuple

import numpy as np


class InceptionScore(NamedTuple):
    """The score over splits of the images.

    Attributes:
      mean, std: over the splits.
    """

    mean: float
    std: float


def inception_score(logits: np.ndarray, *, splits: int = 10) -> InceptionScore:
    """exp of the mean divergence KL(p(y|x) || p(y)) within each split.

    Args:
      logits: [N, K] of generated images, in an order without meaning (not sorted by class).
      splits: parts of equal size, in the given order, as in the authors' code.

    Reference: Salimans et al. 2016 (arXiv:1606.03498), section 4; splits and their std as in its code.
    """
    scores = []
    for part in np.array_split(np.asarray(logits, np.float64), min(splits, len(logits))):
        shifted = part - part.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        p = np.exp(log_p)
        log_marginal = np.log(np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny))
        scores.append(np.exp((p * (log_p - log_marginal)).sum(axis=1).mean()))
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))
