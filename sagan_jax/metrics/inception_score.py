"""The Inception Score, which rewards confident classification of each image and a variety of classes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class InceptionScore(NamedTuple):
    """The score over splits of the images.

    Attributes:
      mean, std: over the splits.
    """

    mean: float
    std: float


def inception_score(logits: Float[np.ndarray, "images classes"], *, splits: int = 10) -> InceptionScore:
    """Computes exp(E_x KL(p(y|x) || p(y))) within each split, in float64.

    Args:
      logits: [N, K] of generated images, in random order (not sorted by class).
      splits: number of consecutive parts, of which part i begins with image i * N // splits; at most N are made.

    Reference: Salimans et al. 2016 (arXiv:1606.03498), section 4; splits and their std as in its code.
    """
    scores, count = [], len(logits)
    splits = min(splits, count)
    for part in np.split(np.asarray(logits, np.float64), [i * count // splits for i in range(1, splits)]):
        shifted = part - part.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        p = np.exp(log_p)
        log_marginal = np.log(np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny))
        scores.append(np.exp((p * (log_p - log_marginal)).sum(axis=1).mean()))
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))
