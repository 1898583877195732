"""Whether generated images show the class that was asked for, by a linear classifier of features."""

import numpy as np

from sagan_jax.metrics.moments import moments_of

RIDGE = 1e-3  # added to each variance, in units of it, so that fewer features than dimensions will do


class LinearClassifier:
    """Classes as Gaussians with means of their own and one covariance: linear discriminant analysis.

    Closed form, so it needs no choices of an optimiser and is the same each time.

    Args:
      features: [N, D] to learn from.
      labels: [N] int of these.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray):
        self._labels = np.unique(labels)
        parts = [moments_of(features[labels == label]) for label in self._labels]
        means = np.stack([part.mean for part in parts])
        scatter = np.sum([part.scatter for part in parts], axis=0) / len(features)
        variances = np.diag(scatter)
        scatter = scatter + np.diag(RIDGE * variances + max(1e-9 * variances.mean(), np.finfo(np.float64).tiny))
        self._weights = np.linalg.solve(scatter, means.T)
        # Prior odds are left out: generated classes need not be as frequent as real ones.
        self._bias = -0.5 * np.einsum("kd,dk->k", means, self._weights)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The labels [N] of features [N, D]."""
        return self._labels[np.argmax(features @ self._weights + self._bias, axis=1)]


def label_accuracy(real: np.ndarray, real_labels: np.ndarray, fake: np.ndarray, fake_labels: np.ndarray) -> float:
    """Share of generated features that a classifier of the real ones gives their asked-for class.

    Args:
      real, fake: features [N, D], [M, D].
      real_labels, fake_labels: [N], [M] int.
    """
    return float(np.mean(LinearClassifier(real, real_labels).predict(fake) == fake_labels))


def real_label_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """What `label_accuracy` can at best be expected to be: learnt from every other real image, tested on the rest.

    Args:
      features: [N, D], in random order.
      labels: [N] int.
    """
    return label_accuracy(features[::2], labels[::2], features[1::2], labels[1::2])
