"""Consistency regularisation: what changes an image or a latent a little should not change what D says.

Reference: Zhao et al. 2020 (arXiv:2002.04724), algorithms 1 (bCR) and 2 (zCR).
"""

import jax
import jax.numpy as jnp

from sagan_jax.augmentation.diffaugment import translation
from sagan_jax.objectives.losses import Scalar
from sagan_jax.objectives.penalty import Images, PenaltyInputs

LATENT_NOISE = 0.03  # standard deviation of what changes a latent


def balanced_consistency(inputs: PenaltyInputs) -> Scalar:
    """Computes the mean squared change of D's logits when images are mirrored and moved, of real and generated ones.

    Half of them are mirrored, and all moved by up to an eighth of the side. To be added to D's loss, as bCR with
    lambda_real = lambda_fake, 10 in the paper.
    """
    pairs = (
        (inputs.real_logits(), inputs.real_images, inputs.real_labels),
        (inputs.fake_logits, inputs.fake_images, inputs.fake_labels),
    )
    first, second = (
        jnp.mean(jnp.square(logits - inputs.discriminate(mirrored_and_moved(images, inputs.keys), labels)))
        for logits, images, labels in pairs
    )
    return first + second


def latent_consistency(inputs: PenaltyInputs) -> Scalar:
    """Computes the mean squared change of D's logits of generated images when their latents change a little.

    To be added to D's loss, as zCR with lambda_dis, 5 in the paper.
    """
    near_logits = inputs.discriminate(inputs.near_images(), inputs.fake_labels)
    return jnp.mean(jnp.square(inputs.fake_logits - near_logits))


def latent_diversity(inputs: PenaltyInputs) -> Scalar:
    """Computes minus the mean squared difference of the generated images when their latents change a little.

    To be added to G's loss, as zCR with lambda_gen, 0.5 in the paper.
    """
    return -jnp.mean(jnp.square(inputs.fake_images - inputs.near_images()))


def mirrored_and_moved(images: Images, keys: jax.Array) -> Images:
    """Mirrors half of the images and moves all by up to an eighth of the side; grey comes in at the edge."""

    def change(image: jax.Array, key: jax.Array) -> jax.Array:
        mirror, move = jax.random.split(key)
        image = jnp.where(jax.random.bernoulli(mirror), image[:, ::-1], image)
        return translation(image, move)

    return jax.vmap(change)(images, keys)
