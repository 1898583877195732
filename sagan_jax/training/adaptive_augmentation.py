"""Adaptive augmentation: its probability follows how well D knows the real images that it is trained on.

Reference: Karras et al. 2020 (arXiv:2006.06676), section 3.1.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from sagan_jax.objectives.penalty import RunningStatistic

NAME = "augmentation_probability"


@functools.cache
def adaptive_probability(target: float, images: int, batch_size: int) -> RunningStatistic:
    """Returns the probability of each change: 0 at the start, up where D is too sure of real images, down where not.

    By the mean sign of D's logits of real images, in each update; in the paper every fourth, by the mean over four. The
    same one for the same settings, so that a step is compiled once for them.

    Args:
      target: that mean sign; 0.6 in the paper.
      images: real images seen while the probability goes from 0 to 1, if it always goes up; 500,000 in the paper.
      batch_size: real images in an update.
    """

    def update(probability: jax.Array, metrics: Mapping[str, jax.Array]) -> jax.Array:
        mean_sign = 2 * metrics["d_real_accuracy"] - 1
        return jnp.clip(probability + jnp.sign(mean_sign - target) * (batch_size / images), 0.0, 1.0)

    return RunningStatistic(NAME, 0.0, update)
