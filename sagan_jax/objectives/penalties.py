"""Penalties by name, from a policy such as "r1:0.5,every=16,lecam:0.3"."""

import functools

import jax
import jax.numpy as jnp

from sagan_jax.errors import InputError
from sagan_jax.objectives.consistency import (
    LATENT_NOISE,
    balanced_consistency,
    latent_consistency,
    latent_diversity,
)
from sagan_jax.objectives.gradient_penalties import gradient_penalty, r1, r2
from sagan_jax.objectives.lecam import LOGIT_AVERAGES, lecam
from sagan_jax.objectives.losses import Scalar
from sagan_jax.objectives.orthogonality import orthogonality
from sagan_jax.objectives.penalty import Penalty, PenaltyInputs, PenaltyTerm

FIELD = "train.penalties"
MOST_EVERY = 100_000_000  # updates, of which no run has more
FORM = 'write NAME:WEIGHT, with commas between several, and ",every=16" after one that not every update computes'


PENALTIES = {
    penalty.name: penalty
    for penalty in (
        Penalty("r1", discriminator=r1),
        Penalty("r2", discriminator=r2),
        Penalty("gradient_penalty", discriminator=gradient_penalty),
        Penalty("lecam", discriminator=lecam, running=LOGIT_AVERAGES),
        Penalty("bcr", discriminator=balanced_consistency),
        Penalty("zcr_d", discriminator=latent_consistency, latent_noise=LATENT_NOISE),
        Penalty("zcr_g", generator=latent_diversity, latent_noise=LATENT_NOISE),
        Penalty("orthogonality", generator=orthogonality),
    )
}


@functools.cache
def build_penalties(policy: str) -> tuple[Penalty, ...]:
    """Returns the penalties of a policy: NAME:WEIGHT with commas between, each perhaps with ",every=N" after it.

    With `every` only each N-th update of its network computes it, N times as heavy, so that it is as strong on the
    whole (Karras et al. 2020, arXiv:1912.04958, section 3.1; there Adam's settings change as well). The same
    functions for the same policy, so that a step is compiled once for it.

    Raises:
      InputError: the policy has another form, or a name is unknown or there twice.
    """
    every, weights = {}, {}
    name = ""
    for part in filter(None, (part.strip() for part in policy.split(","))):
        if part.startswith("every="):
            if not name or name in every:
                where = "begins with an option" if not name else f"has every= twice after {name}"
                raise InputError(where, field=FIELD, value=policy, remedy=FORM)
            every[name] = int(_number(part.removeprefix("every="), policy, whole=True))
            continue
        name, _, weight = part.partition(":")
        if name not in PENALTIES:
            remedy = f"choose from {', '.join(PENALTIES)}"
            raise InputError(f"has the unknown {name!r}", field=FIELD, value=policy, remedy=remedy)
        if name in weights:
            raise InputError(f"has {name} twice", field=FIELD, value=policy, remedy="give each once")
        weights[name] = _number(weight, policy)
    return tuple(_penalty(name, weight, every.get(name, 1)) for name, weight in weights.items())


def _penalty(name: str, weight: float, every: int) -> Penalty:
    def weighted(term: PenaltyTerm | None) -> PenaltyTerm | None:
        return functools.partial(_weighted, term, weight, every) if term else None

    penalty = PENALTIES[name]
    return penalty._replace(discriminator=weighted(penalty.discriminator), generator=weighted(penalty.generator))


def _number(text: str, policy: str, *, whole: bool = False) -> float:
    """Returns the positive number that a text is."""
    try:
        number = float(int(text) if whole else text)
    except ValueError:
        number = 0.0
    if not 0 < number < (MOST_EVERY if whole else float("inf")):
        what = f"positive whole number below {MOST_EVERY:,}" if whole else "positive number"
        raise InputError(f"has {text!r} where a {what} belongs", field=FIELD, value=policy, remedy=FORM)
    return number


def _weighted(term: PenaltyTerm, weight: float, every: int, inputs: PenaltyInputs) -> Scalar:
    if every == 1:
        return weight * term(inputs)
    return jax.lax.cond(
        inputs.number % every == 0, lambda: weight * every * term(inputs), lambda: jnp.zeros((), jnp.float32)
    )
