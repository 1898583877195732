"""Data sets in memory."""

from collections.abc import Sequence

import numpy as np

from sagan_jax.data.source import ONE_CLASS, ImageSource


class ArrayImages(ImageSource):
    """An `ImageSource` over arrays.

    Args:
      name: see `ImageSource`.
      images: [N, H, W, 3] uint8.
      labels: [N] int32; without them all images are of one class.
      class_names: one per label, in label order.
    """

    labels: np.ndarray

    def __init__(
        self,
        name: str,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        class_names: Sequence[str] = ONE_CLASS,
    ):
        self.name = name
        self.images = images
        self.labels = np.zeros(len(images), np.int32) if labels is None else labels
        self.class_names = tuple(class_names)

    def __len__(self) -> int:
        return len(self.images)

    def load(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ImageSource.load`."""
        return self.images[indices], self.labels[indices]
