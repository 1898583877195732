"""The order of the images, a function of (seed, position) alone.

A run reads one endless sequence of shuffled epochs, so every image comes exactly once
per epoch and each epoch has its own order. A position counts images from the run's start,
over all processes.
"""

import functools

import numpy as np


def image_index(seed: int, position: int, num_images: int) -> int:
    """Index into a data set of `num_images` of the image at a position of the run."""
    epoch, offset = divmod(position, num_images)
    return int(_epoch_order(seed, epoch, num_images)[offset])


@functools.lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, num_images: int) -> np.ndarray:
    """The shuffled indices of one epoch; the next one is needed while the last is still read."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch]))).permutation(num_images)
