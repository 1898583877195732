"""A trained model, ready for use: from a run, from a portable folder or from another program's weights."""

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh

from sagan_jax.data.batch import to_signed_float
from sagan_jax.models.attention import COLLECTION as ATTENTION_MAPS
from sagan_jax.models.discriminator import Discriminator
from sagan_jax.models.latent_prior import LatentPrior
from sagan_jax.runtime.image_counter import ImageCounter
from sagan_jax.sampling.card import Card
from sagan_jax.sampling.sampler import Sampler, Tree


@dataclasses.dataclass(frozen=True)
class Model:
    """A generator and, where it is known, its discriminator.

    Attributes:
      card: what is known of it.
      sampler: for the generator.
      variables: the generator's, frozen: kernels divided by their singular values, and fixed moments.
      discriminator: the module, or None.
      discriminator_variables: the discriminator's variables, frozen likewise, or None.
    """

    card: Card
    sampler: Sampler
    variables: Tree
    discriminator: Discriminator | None = None
    discriminator_variables: Tree = None

    def batches(self, latents: np.ndarray, labels: np.ndarray) -> Iterator[np.ndarray]:
        """Images [n, H, W, 3] uint8 of latents [N, Z] and labels [N], a call at a time; one sees how many are done."""
        done = 0
        with ImageCounter("sampling", len(labels)) as counter:
            for images in self.sampler.batches(self.variables, latents, labels):
                yield images
                done += len(images)
                counter.show(done)

    def discriminate(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, Tree]:
        """Images [N, H, W, 3] uint8 and labels [N] -> logits [N] and the attention weights [N, L, M] of each layer."""
        assert self.discriminator is not None
        return jax.device_get(_discriminate(self.discriminator, self.discriminator_variables, images, labels))


def discriminate(
    discriminator: Discriminator, discriminator_variables: Tree, images: jax.Array, labels: jax.Array
) -> tuple[jax.Array, Tree]:
    """Logits [N] and attention weights [N, L, M] of each layer, of images [N, H, W, 3] uint8 and labels [N]; pure."""
    logits, sown = discriminator.apply(
        discriminator_variables, to_signed_float(images), labels, mutable=[ATTENTION_MAPS]
    )
    return logits, {layer: values["weights"] for layer, values in sown.get(ATTENTION_MAPS, {}).items()}


_discriminate = jax.jit(discriminate, static_argnums=0)


def build_sampler(card: Card, mesh: Mesh, call_size: int) -> Sampler:
    """For the generator of a card, whose variables are frozen already."""
    prior = LatentPrior(card.latent_size, card.num_classes, card.class_frequencies)
    return Sampler(card.build_generator(), prior, mesh, batch_size=call_size, standing_batches=0)
