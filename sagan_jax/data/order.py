"""The order of the images, a function of (seed, position) alone.

A run reads one endless sequence of images. A position counts images from the run's start,
over all processes.
"""

import functools
from typing import Protocol

import numpy as np


class Order(Protocol):
    """Which image comes at which position."""

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Indices into the data set [n] of the images at positions [n]."""


class EpochOrder:
    """Shuffled epochs: every image once per epoch, each epoch in an order of its own."""

    def __init__(self, seed: int, num_images: int):
        self._seed = seed
        self._num_images = num_images
        # The next epoch is needed while the last is still read.
        self._permutation = functools.lru_cache(maxsize=2)(self._shuffle)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """See `Order`."""
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
    """Every class once per round, in an order of the round's own; the images of a class in shuffled epochs.

    Rare classes come as often as frequent ones, and within a class every image comes as often as any other.

    Args:
      seed: of the run.
      labels: [N] of the data set; every class that occurs is drawn.
    """

    def __init__(self, seed: int, labels: np.ndarray):
        self._seed = seed
        self._members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self._orders = [EpochOrder(_mixed(seed, label), len(members)) for label, members in enumerate(self._members)]

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """See `Order`."""
        rounds = positions // len(self._members)
        classes = EpochOrder(self._seed, len(self._members))(positions)
        indices = np.empty(len(positions), np.int64)
        for label in np.unique(classes):
            now = classes == label
            # Each round has the class once, so its n-th image comes in round n.
            indices[now] = self._members[label][self._orders[label](rounds[now])]
        return indices


def _mixed(seed: int, label: int) -> int:
    """A seed for the order within one class."""
    return int(np.random.SeedSequence([seed, label, 1]).generate_state(1, np.uint64)[0])
