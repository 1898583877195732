"""What the data side hands to the training side."""

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
