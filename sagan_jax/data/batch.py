"""What the data side hands to the training side."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np


class Batch(NamedTuple):
    """The real images of one step, as numpy slices of this process or as global jax arrays.

    Attributes:
      images: [S, B, H, W, 3] uint8, S discriminator updates of B images.
      labels: [S, B] int32 in [0, num_classes).
    """

    images: np.ndarray | jax.Array
    labels: np.ndarray | jax.Array


def in_batches(total: int, size: int) -> Iterator[slice]:
    """Slices of `size` that cover range(total), the last one shorter."""
    return itertools.starmap(slice, itertools.pairwise([*range(0, total, size), total]))
