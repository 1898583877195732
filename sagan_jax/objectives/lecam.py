"""LeCam regularisation: D's logits are held near what it has lately said about the other kind of images."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from sagan_jax.objectives.losses import Scalar
from sagan_jax.objectives.penalty import PenaltyInputs, RunningStatistic

DECAY = 0.99  # per update of D, as in the authors' code (lecam-gan, lecam_loss.py)


def lecam(inputs: PenaltyInputs) -> Scalar:
    """Computes mean max(0, real - average of fake)^2 + mean max(0, average of real - fake)^2 over D's logits.

    The averages are moving ones over the updates before this one; in the first update there are none, and it is 0.

    Reference: Tseng et al. 2021 (arXiv:2104.03310), equation 3; the maxima are those of the authors' code.
    """
    # Averages that began at 0 are too small by this factor.
    weights = jnp.maximum(1 - DECAY ** inputs.number.astype(jnp.float32), 1 - DECAY)
    real, fake = (inputs.running[statistic.name] / weights for statistic in LOGIT_AVERAGES)
    above = jnp.mean(jnp.square(jax.nn.relu(inputs.real_logits() - fake)))
    below = jnp.mean(jnp.square(jax.nn.relu(real - inputs.fake_logits)))
    return jnp.where(inputs.number > 0, above + below, 0.0)


def _average_of(metric: str) -> RunningStatistic:
    def update(value: Scalar, metrics: Mapping[str, Scalar]) -> Scalar:
        return DECAY * value + (1 - DECAY) * metrics[metric]

    return RunningStatistic(f"average_{metric}", 0.0, update)


LOGIT_AVERAGES = (_average_of("real_logits"), _average_of("fake_logits"))
