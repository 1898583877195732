"""Label accuracy: how often a linear classifier of features recognises the class of a generated image.

Reference: the GAN-test of Shmelkov et al. 2018 (arXiv:1807.09499), here with a linear classifier.
"""

import numpy as np
from jaxtyping import Float, Integer

from sagan_jax.metrics.moments import moments_of

RIDGE = 1e-3  # relative increase of each variance, for covariances of fewer features than dimensions
ROWS = 4096  # features classified at a time


class LinearClassifier:
    """Linear discriminant analysis: a Gaussian per class, with a common covariance.

    The solution has a closed form, so there is no optimiser to choose, and it is deterministic.

    Args:
      features: [N, D] of the training images.
      labels: [N] int.

    Reference: Hastie, Tibshirani & Friedman 2009, "The Elements of Statistical Learning", section 4.3.
    """

    def __init__(self, features: Float[np.ndarray, "images dimensions"], labels: Integer[np.ndarray, " images"]):
        self._labels = np.unique(labels)
        means, scatter = [], np.zeros((features.shape[1],) * 2)
        for label in self._labels:
            of_class = moments_of(features[labels == label])
            means.append(of_class.mean)
            scatter += of_class.scatter / len(features)
        variances = np.diag(scatter)
        scatter = scatter + np.diag(RIDGE * variances + max(1e-9 * variances.mean(), np.finfo(np.float64).tiny))
        self._weights = np.linalg.solve(scatter, np.stack(means).T)
        # Without the log prior of each class: generated classes need not be as frequent as real ones.
        self._bias = -0.5 * np.einsum("kd,dk->k", np.stack(means), self._weights)

    def predict(self, features: Float[np.ndarray, "images dimensions"]) -> Integer[np.ndarray, " images"]:
        """Predicts the labels [N] of features [N, D]."""
        pieces = (features[start : start + ROWS] for start in range(0, len(features), ROWS))
        best = [np.argmax(piece @ self._weights + self._bias, axis=1) for piece in pieces]
        return self._labels[np.concatenate(best)]

    def accuracy(
        self, features: Float[np.ndarray, "images dimensions"], labels: Integer[np.ndarray, " images"]
    ) -> float:
        """Computes the fraction of features [N, D] whose prediction is their label [N] int."""
        return float(np.mean(self.predict(features) == labels))


def held_out_accuracy(
    features: Float[np.ndarray, "images dimensions"], labels: Integer[np.ndarray, " images"]
) -> float:
    """Computes the accuracy on real images, the ceiling for generated ones: trained on one half, tested on the other.

    Args:
      features: [N, D], in random order.
      labels: [N] int.
    """
    return LinearClassifier(features[::2], labels[::2]).accuracy(features[1::2], labels[1::2])
