"""Top-k training of the generator: it learns from those of its images that the discriminator finds most real.

Reference: Sinha et al. 2020 (arXiv:2002.06224), algorithm 1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from sagan_jax.objectives.losses import Logits, Scalar


def annealed_fraction(last: float, steps: int, step: Int[Array, ""]) -> Scalar:
    """Computes the fraction of images to learn from: 1 at the first step, `last` from `steps` on, linear between.

    The paper takes a hundredth off per epoch.
    """
    return 1 - (1 - last) * jnp.minimum(step / max(1, steps), 1)


def learn_from_top(fraction: Scalar, fake_logits: Logits) -> Logits:
    """Returns the logits as they are, but with gradients from the largest of them alone, a fraction of all.

    So that a loss that is a mean over images is followed as the mean over these would be, and logged over all. Images
    with the same logit as the last of them count too.
    """
    count = jnp.clip(jnp.round(fraction * len(fake_logits)).astype(jnp.int32), 1, len(fake_logits))
    fixed = jax.lax.stop_gradient(fake_logits)
    chosen = fixed >= jnp.sort(fixed)[-count]
    weights = chosen * (len(fake_logits) / jnp.sum(chosen))
    return fixed + weights * (fake_logits - fixed)
