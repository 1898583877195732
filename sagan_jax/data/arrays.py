"""Data sets that lie in memory."""

import hashlib
from collections.abc import Sequence

import numpy as np


class ArrayImages:
    """An `ImageSource` of arrays.

    Args:
      name: what the log calls it.
      class_names: one per label, in label order.
      images: [N, H, W, 3] uint8.
      labels: [N] int32.
    """

    def __init__(self, name: str, class_names: Sequence[str], images: np.ndarray, labels: np.ndarray):
        self.name = name
        self.class_names = tuple(class_names)
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.images)

    def load(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ImageSource.load`."""
        return self.images[indices], self.labels[indices]

    def content_hash(self) -> str:
        """See `ImageSource.content_hash`."""
        digest = hashlib.sha256(f"{self.images.shape} {self.class_names}".encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(self.labels.tobytes())
        return digest.hexdigest()
