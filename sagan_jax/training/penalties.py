"""Penalties on the discriminator's gradient by name, from a policy such as "r1:0.5,every=16"."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sagan_jax.errors import InputError
from sagan_jax.training.losses import Images, Labels, Penalty, PenaltyInputs, Scalar

FIELD = "train.penalties"
FORM = 'write NAME:WEIGHT, with commas between several, and ",every=16" after one that not every update computes'


def r1(inputs: PenaltyInputs) -> Scalar:
    """Computes half the mean squared length of D's gradient at real images.

    Reference: Mescheder et al. 2018 (arXiv:1801.04406), equation 9.
    """
    return jnp.mean(squared_gradients(inputs, inputs.real_images, inputs.real_labels)) / 2


def r2(inputs: PenaltyInputs) -> Scalar:
    """Computes the same at generated images. Reference: Mescheder et al. 2018, equation 10."""
    return jnp.mean(squared_gradients(inputs, inputs.fake_images, inputs.fake_labels)) / 2


def gradient_penalty(inputs: PenaltyInputs) -> Scalar:
    """Computes how far D's gradient is from length 1, squared, between pairs of a real and a generated image.

    Each pair has its own random place between them, and the label of the real one.

    Reference: Gulrajani et al. 2017 (arXiv:1704.00028), equation 3.
    """
    fraction = jax.vmap(jax.random.uniform)(inputs.keys)[:, None, None, None]
    between = fraction * inputs.real_images + (1 - fraction) * inputs.fake_images
    squares = squared_gradients(inputs, between, inputs.real_labels)
    # Where the gradient is 0 the square root has no derivative.
    lengths = jnp.sqrt(jnp.maximum(squares, 1e-12))
    return jnp.mean(jnp.square(lengths - 1))


PENALTIES: dict[str, Callable[[PenaltyInputs], Scalar]] = {
    "r1": r1,
    "r2": r2,
    "gradient_penalty": gradient_penalty,
}


def squared_gradients(inputs: PenaltyInputs, images: Images, labels: Labels) -> Float[Array, " batch"]:
    """Computes the squared length of each image's gradient of its logit.

    As the gradient of the sum of all logits, which is right where no logit depends on another image: the discriminator
    has no batch norm.
    """
    gradients = jax.grad(lambda images: jnp.sum(inputs.discriminate(images, labels)))(images)
    return jnp.sum(jnp.square(gradients), axis=(1, 2, 3))


@functools.cache
def build_penalties(policy: str) -> tuple[Penalty, ...]:
    """Returns the penalties of a policy: NAME:WEIGHT with commas between, each perhaps with ",every=N" after it.

    With `every` only each N-th update of the discriminator computes it, N times as heavy, so that it is as strong on
    the whole (Karras et al. 2020, arXiv:1912.04958, section 3.1; there Adam's settings change as well). The same
    functions for the same policy, so that a step is compiled once for it.

    Raises:
      InputError: the policy has another form, or a name is unknown or there twice.
    """
    every, weights = {}, {}
    name = ""
    for part in filter(None, (part.strip() for part in policy.split(","))):
        if part.startswith("every="):
            if not name:
                raise InputError("begins with an option", field=FIELD, value=policy, remedy=FORM)
            every[name] = int(_number(part.removeprefix("every="), policy, whole=True))
            continue
        name, _, weight = part.partition(":")
        if name not in PENALTIES:
            remedy = f"choose from {', '.join(PENALTIES)}"
            raise InputError(f"has the unknown {name!r}", field=FIELD, value=policy, remedy=remedy)
        if name in weights:
            raise InputError(f"has {name} twice", field=FIELD, value=policy, remedy="give each once")
        weights[name] = _number(weight, policy)
    return tuple(
        Penalty(name, discriminator=functools.partial(_weighted, PENALTIES[name], weight, every.get(name, 1)))
        for name, weight in weights.items()
    )


def _number(text: str, policy: str, *, whole: bool = False) -> float:
    """Returns the positive number that a text is."""
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        what = "whole number" if whole else "number"
        raise InputError(f"has {text!r} where a positive {what} belongs", field=FIELD, value=policy, remedy=FORM)
    return number


def _weighted(term: Callable[[PenaltyInputs], Scalar], weight: float, every: int, inputs: PenaltyInputs) -> Scalar:
    if every == 1:
        return weight * term(inputs)
    return jax.lax.cond(
        inputs.number % every == 0, lambda: weight * every * term(inputs), lambda: jnp.zeros((), jnp.float32)
    )
