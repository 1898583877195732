"""Penalties on the gradient of D's logits with respect to images."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sagan_jax.objectives.losses import Scalar
from sagan_jax.objectives.penalty import Images, Labels, PenaltyInputs


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


def squared_gradients(inputs: PenaltyInputs, images: Images, labels: Labels) -> Float[Array, " batch"]:
    """Computes the squared length of each image's gradient of its logit.

    As the gradient of the sum of all logits, which is right where no logit depends on another image: the discriminator
    has no batch norm.
    """
    gradients = jax.grad(lambda images: jnp.sum(inputs.discriminate(images, labels)))(images)
    return jnp.sum(jnp.square(gradients), axis=(1, 2, 3))
