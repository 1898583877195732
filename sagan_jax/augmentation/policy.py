"""Differentiable augmentation by names: real and generated images are changed alike before the discriminator sees them.

Gradients pass through, so the generator learns images and not their changes. For data sets of some thousand images,
which a discriminator otherwise learns by heart.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from sagan_jax.augmentation.bgc import Probability, bgc
from sagan_jax.augmentation.diffaugment import color, cutout, translation
from sagan_jax.errors import InputError

Change = Callable[[jax.Array, jax.Array, Probability], jax.Array]  # image [H, W, 3], key, probability -> image
# Images [B, H, W, 3], keys [B], probability of each change -> images alike.
Augment = Callable[[jax.Array, jax.Array, Probability], jax.Array]


@functools.cache
def augmentation(policy: str) -> Augment:
    """Returns the changes of a policy such as "color,translation", in this order; each image draws from its own key.

    The same function for the same policy, so that a step is compiled once for it.

    Raises:
      InputError: a name is unknown.
    """
    names = [name.strip() for name in policy.split(",")] if policy else []
    for name in names:
        if name not in CHANGES:
            wrong, remedy = f"has the unknown {name!r}", f"choose from {', '.join(CHANGES)}"
            raise InputError(wrong, field="train.augmentations", value=policy, remedy=remedy)

    def augment_one(image: jax.Array, key: jax.Array, probability: Probability) -> jax.Array:
        for name, change_key in zip(names, jax.random.split(key, len(names)), strict=True):
            image = CHANGES[name](image, change_key, probability)
        return image

    if not names:
        return lambda images, keys, probability: images
    return jax.vmap(augment_one, in_axes=(0, 0, None))


def with_probability(change: Callable[[jax.Array, jax.Array], jax.Array]) -> Change:
    """Returns a change that is made to an image with some probability."""

    @functools.wraps(change)
    def perhaps(image: jax.Array, key: jax.Array, probability: Probability) -> jax.Array:
        changed = change(image, key)
        if isinstance(probability, float) and probability == 1:
            return changed
        return jnp.where(jax.random.bernoulli(jax.random.fold_in(key, 1), probability), changed, image)

    return perhaps


CHANGES: dict[str, Change] = {
    "color": with_probability(color),
    "translation": with_probability(translation),
    "cutout": with_probability(cutout),
    "bgc": bgc,
}
