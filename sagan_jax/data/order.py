"""The order of the images, a function of (seed, position) alone.

A run reads one endless sequence of images. A position counts images from the run's start,
over all processes.
"""

import functools
from collections.abc import Callable

import numpy as np

Order = Callable[[np.ndarray], np.ndarray]  # positions [n] -> indices [n] into the data set


class EpochOrder:
    """An `Order` by shuffled epochs: every image once per epoch, each epoch shuffled anew."""

    def __init__(self, seed: int, num_images: int):
        self._seed = seed
        self._num_images = num_images
        # Reading ahead needs two epochs at a time.
        self._permutation = functools.lru_cache(maxsize=2)(self._shuffle)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Returns the indices at the positions, see `Order`."""
        epochs, offsets = np.divmod(positions, self._num_images)
        indices = np.empty(len(positions), np.int64)
        for epoch in np.unique(epochs):
            now = epochs == epoch
            indices[now] = self._permutation(int(epoch))[offsets[now]]
        return indices

    def _shuffle(self, epoch: int) -> np.ndarray:
        bits = np.random.Philox(np.random.SeedSequence([self._seed, epoch]))
        return np.random.Generator(bits).permutation(self._num_images)


class BalancedOrder:
    """An `Order` balanced over classes: every class once per shuffled round, the images of a class by shuffled epochs.

    So all classes are equally frequent, and so are the images of one class.

    Args:
      seed: of the run.
      labels: [N] of the data set; classes without images are not drawn.
    """

    def __init__(self, seed: int, labels: np.ndarray):
        self._seed = seed
        self._members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self._orders = [EpochOrder(_class_seed(seed, i), len(members)) for i, members in enumerate(self._members)]

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Returns the indices at the positions, see `Order`."""
        rounds = positions // len(self._members)
        classes = EpochOrder(self._seed, len(self._members))(positions)
        indices = np.empty(len(positions), np.int64)
        for label in np.unique(classes):
            now = classes == label
            # Each round draws the class once, so round n draws its n-th image.
            indices[now] = self._members[label][self._orders[label](rounds[now])]
        return indices


def _class_seed(seed: int, class_index: int) -> int:
    return int(np.random.SeedSequence([seed, class_index, 1]).generate_state(1, np.uint64)[0])
