"""Whether generated images show the class that was asked for, by a linear classifier of features."""

import numpy as np

from sagan_jax.metrics.moments import moments_of

RIDGE = 1e-3  # added to each variance, in units of it, so that fewer features than dimensions will do
ROWS = 4096  # features that are classified at a time


class LinearClassifier:
    """Classes as Gaussians with means of their own and one covariance: linear discriminant analysis.

    Closed form, so it needs no choices of an optimiser and is the same each time.

    Args:
      features: [N, D] to learn from.
      labels: [N] int of these.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray):
        self._labels = np.unique(labels)
        means, scatter = [], np.zeros((features.shape[1],) * 2)
        for label in self._labels:
            of_class = moments_of(features[labels == label])
            means.append(of_class.mean)
            scatter += of_class.scatter / len(features)
        variances = np.diag(scatter)
        scatter = scatter + np.diag(RIDGE * variances + max(1e-9 * variances.mean(), np.finfo(np.float64).tiny))
        self._weights = np.linalg.solve(scatter, np.stack(means).T)
        # Prior odds are left out: generated classes need not be as frequent as real ones.
        self._bias = -0.5 * np.einsum("kd,dk->k", np.stack(means), self._weights)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The labels [N] of features [N, D]."""
        pieces = (features[start : start + ROWS] for start in range(0, len(features), ROWS))
        best = [np.argmax(piece @ self._weights + self._bias, axis=1) for piece in pieces]
        return self._labels[np.concatenate(best)]

    def accuracy(self, features: np.ndarray, labels: np.ndarray) -> float:
        """Share of features [N, D] that are given their class, of labels [N] int."""
        return float(np.mean(self.predict(features) == labels))


def held_out_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """What generated images can at best be expected to reach: learnt from every other real image, tested on the rest.

    Args:
      features: [N, D], in random order.
      labels: [N] int.
    """
    return LinearClassifier(features[::2], labels[::2]).accuracy(features[1::2], labels[1::2])
