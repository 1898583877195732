"""Two measures for data sets of small, simple images (such as digits), where pixels are features enough.

Both need only the arrays and take seconds on a CPU. They are no substitute for FID on
photographs.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image
from sklearn.svm import SVC

FEATURE_SIDE = 8  # pixels; images are reduced to this side and to grey


def class_agreement(
    real_images: np.ndarray, real_labels: np.ndarray, fake_images: np.ndarray, fake_labels: np.ndarray
) -> float:
    """Share of generated images that a classifier trained on the real ones gives their asked-for class.

    Args:
      real_images, fake_images: [N, H, W, 3] uint8.
      real_labels, fake_labels: [N] int.
    """
    classifier = SVC(gamma="scale", C=10.0).fit(_features(real_images), real_labels)
    return float(np.mean(classifier.predict(_features(fake_images)) == fake_labels))


def class_diversity(
    real_images: np.ndarray, real_labels: np.ndarray, fake_images: np.ndarray, fake_labels: np.ndarray
) -> float:
    """Mean distance between two generated images of a class over that between two real ones; 0 is collapse.

    The mean is over classes that have at least two images of both kinds; arguments as for `class_agreement`.
    """
    real, fake = _features(real_images), _features(fake_images)
    spreads = [
        (_mean_distance(fake[fake_labels == label]), _mean_distance(real[real_labels == label]))
        for label in np.unique(fake_labels)
        if np.sum(fake_labels == label) > 1 and np.sum(real_labels == label) > 1
    ]
    fake_spread, real_spread = np.mean(spreads, axis=0)
    return float(fake_spread / real_spread)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]] = {
    "class_agreement": class_agreement,
    "class_diversity": class_diversity,
}


def _features(images: np.ndarray) -> np.ndarray:
    """[N, H, W, 3] uint8 -> [N, FEATURE_SIDE^2] float32 in [0, 1], averaged over blocks."""
    small = [
        Image.fromarray(image).convert("L").resize((FEATURE_SIDE, FEATURE_SIDE), Image.Resampling.BOX)
        for image in images
    ]
    return np.stack([np.asarray(image, np.float32).reshape(-1) for image in small]) / 255


def _mean_distance(features: np.ndarray) -> float:
    """Mean Euclidean distance over pairs of different rows."""
    squares = np.sum(features**2, axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * features @ features.T, 0))
    count = len(features)
    return float(distances.sum() / (count * (count - 1)))
