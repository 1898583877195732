"""Adversarial losses by name, each from logits [B] float32 to a scalar."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sagan_jax.errors import InputError

Logits = Float[Array, " batch"]
Scalar = Float[Array, ""]
LazyLogits = Callable[[], Logits]


class AdversarialLoss(NamedTuple):
    """A pair of losses.

    Attributes:
      discriminator: (real_logits [B], fake_logits [B]) -> [].
      generator: (fake_logits [B], real_logits) -> []. `real_logits()` returns the logits [B] of the real images of the
        last discriminator update, for relativistic losses; they are computed only where it is called.
      boundary: logit above which an image counts as classified as real; None where only differences of logits count.
    """

    discriminator: Callable[[Logits, Logits], Scalar]
    generator: Callable[[Logits, LazyLogits], Scalar]
    boundary: float | None = 0.0


def hinge_discriminator(real_logits: Logits, fake_logits: Logits) -> Scalar:
    """Computes mean max(0, 1 - real) + mean max(0, 1 + fake).

    Reference: Zhang et al. 2018 (arXiv:1805.08318), equation 4; Lim & Ye 2017.

    >>> float(hinge_discriminator(jnp.array([2.0, 0.0]), jnp.array([-3.0, 1.0])))
    1.5
    """
    return jnp.mean(jax.nn.relu(1 - real_logits)) + jnp.mean(jax.nn.relu(1 + fake_logits))


def hinge_generator(fake_logits: Logits, real_logits: LazyLogits) -> Scalar:
    """Computes -mean fake. Reference: Zhang et al. 2018, equation 4."""
    return -jnp.mean(fake_logits)


def non_saturating_discriminator(real_logits: Logits, fake_logits: Logits) -> Scalar:
    """Computes -mean log D(real) - mean log(1 - D(fake)), D = sigmoid(logits).

    Reference: Goodfellow et al. 2014 (arXiv:1406.2661), equation 1.
    """
    return jnp.mean(jax.nn.softplus(-real_logits)) + jnp.mean(jax.nn.softplus(fake_logits))


def non_saturating_generator(fake_logits: Logits, real_logits: LazyLogits) -> Scalar:
    """Computes -mean log D(fake). Reference: Goodfellow et al. 2014, section 3."""
    return jnp.mean(jax.nn.softplus(-fake_logits))


def wasserstein_discriminator(real_logits: Logits, fake_logits: Logits) -> Scalar:
    """Computes mean fake - mean real. Reference: Arjovsky et al. 2017 (arXiv:1701.07875), equation 2.

    Only the spectral norm, or a penalty, bounds it.
    """
    return jnp.mean(fake_logits) - jnp.mean(real_logits)


def relativistic_discriminator(real_logits: Logits, fake_logits: Logits) -> Scalar:
    """Computes mean log(1 + exp(fake - real)) over pairs of a real and a generated image.

    Reference: Huang et al. 2024 (arXiv:2501.05441), equation 2; Jolicoeur-Martineau 2018.
    """
    return jnp.mean(jax.nn.softplus(fake_logits - real_logits))


def relativistic_generator(fake_logits: Logits, real_logits: LazyLogits) -> Scalar:
    """Computes mean log(1 + exp(real - fake)) over the same pairs. Reference: Huang et al. 2024, equation 2."""
    return jnp.mean(jax.nn.softplus(real_logits() - fake_logits))


def least_squares_discriminator(real_logits: Logits, fake_logits: Logits) -> Scalar:
    """Computes mean (real - 1)^2 / 2 + mean fake^2 / 2.

    Reference: Mao et al. 2017 (arXiv:1611.04076), equation 9.
    """
    return (jnp.mean(jnp.square(real_logits - 1)) + jnp.mean(jnp.square(fake_logits))) / 2


def least_squares_generator(fake_logits: Logits, real_logits: LazyLogits) -> Scalar:
    """Computes mean (fake - 1)^2 / 2. Reference: Mao et al. 2017, equation 9."""
    return jnp.mean(jnp.square(fake_logits - 1)) / 2


LOSSES = {
    "hinge": AdversarialLoss(hinge_discriminator, hinge_generator),
    "non_saturating": AdversarialLoss(non_saturating_discriminator, non_saturating_generator),
    "wasserstein": AdversarialLoss(wasserstein_discriminator, hinge_generator, boundary=None),
    "relativistic": AdversarialLoss(relativistic_discriminator, relativistic_generator, boundary=None),
    "least_squares": AdversarialLoss(least_squares_discriminator, least_squares_generator, boundary=0.5),
}


def adversarial_loss(name: str) -> AdversarialLoss:
    """Returns the loss of this name. Raises InputError, with the choices, where there is none."""
    if name not in LOSSES:
        raise InputError("is unknown", field="train.loss", value=name, remedy=f"choose one of {', '.join(LOSSES)}")
    return LOSSES[name]
