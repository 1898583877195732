"""A trained model: what `sagan_jax.load` returns."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sagan_jax.data.batch import to_signed_float
from sagan_jax.errors import InputError
from sagan_jax.models.attention import COLLECTION as ATTENTION_MAPS
from sagan_jax.models.discriminator import Discriminator
from sagan_jax.models.generator import Generator
from sagan_jax.models.latent_prior import LatentPrior
from sagan_jax.runtime.image_counter import ImageCounter
from sagan_jax.runtime.programs import kept
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import replicated
from sagan_jax.sampling.attention import AttentionMaps, attention_of
from sagan_jax.sampling.card import Card, Classes
from sagan_jax.sampling.sampler import Latents, Sampler, Tree, sown_weights

MOST_IMAGES = 10_000_000  # of a call
MOST_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A generator with its weights and, where it is known, its discriminator.

    Attributes:
      card: architecture, class names, origin and scores.
      sampler: compiled functions of the generator.
      variables: of the generator, for `generator.apply(variables, latents, labels, train=False)`: kernels divided by
        their singular values, fixed moments.
      discriminator: the Flax module, or None.
      discriminator_variables: for `discriminator.apply(discriminator_variables, images, labels)`, or None.
    """

    card: Card
    sampler: Sampler
    variables: Tree
    discriminator: Discriminator | None = None
    discriminator_variables: Tree = None

    @classmethod
    def from_card(
        cls, card: Card, mesh: Mesh, call_size: int, variables: Tree, discriminator_variables: Tree = None
    ) -> "Model":
        """Makes the model of a card from variables that are ready to use; arguments as for `Sampler` and `Model`."""
        prior = LatentPrior(card.latent_size, card.num_classes, card.class_frequencies)
        sampler = Sampler(card.build_generator(), prior, mesh, batch_size=call_size, standing_batches=0)
        discriminator = card.build_discriminator() if discriminator_variables else None
        return cls(card, sampler, variables, discriminator, discriminator_variables)

    @property
    def generator(self) -> Generator:
        """The Flax module; latents [B, Z] and labels [B] -> images [B, H, W, 3] float32 in [-1, 1]."""
        return self.sampler.generator

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in label order; empty for an unconditional model."""
        return self.card.class_names if self.card.num_classes else ()

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.card.resolution

    def __repr__(self) -> str:
        step = "" if self.card.step is None else f", step {self.card.step:,}"
        return f"<Model {self.card.name}{step}, {self.resolution} px, {self.card.num_classes:,} classes>"

    def sample(
        self, classes: Classes = None, num: int | None = None, seed: int = 0, truncation: float = math.inf
    ) -> np.ndarray:
        """Makes images.

        Image i depends on seed, i, its class and the truncation alone; it is that of `python -m sagan_jax.sample`.

        Args:
          classes: a name, a label, or a list of these, taken in turn; None: all classes.
          num: number of images; by default one for each of the classes.
          seed: 0 to 2**32 - 1.
          truncation: larger numbers of a latent are drawn again: more typical images, less variety.

        Returns:
          images [N, H, W, 3] uint8.

        Raises:
          InputError: an argument is wrong; a ValueError.
        """
        return self.sampler.images(self.variables, *self.inputs(classes, num, seed, truncation))

    def attention(
        self,
        images: np.ndarray | None = None,
        *,
        classes: Classes = None,
        num: int | None = None,
        seed: int = 0,
        truncation: float = math.inf,
    ) -> tuple[np.ndarray, AttentionMaps]:
        """Computes what the points of images attend to, in every attention layer.

        Without `images`, on samples, in both networks. On given images, in the discriminator.

        Args:
          images: [N, H, W, 3] uint8, H = W = `resolution`.
          classes, num, seed, truncation: of the samples, as for `sample`. Images take `classes` alone: one of all, or
            one of each. The attention of this package's discriminator does not depend on them.

        Returns:
          The images [N, H, W, 3] uint8, and weights [N, L, M] float32 and gamma of each layer.

        Raises:
          InputError: an argument is wrong; a ValueError.
        """
        if images is not None:
            if (num, seed, truncation) != (None, 0, math.inf):
                raise InputError("num, seed and truncation are of samples: leave them out where images are given.")
            images, labels = self._checked(images, classes)
            return images, self._in_batches(self._discriminator_attention, images, labels)
        latents, labels = self.inputs(classes, num, seed, truncation)
        images, attention = self._in_batches(self._generator_attention, latents, labels)
        if self.discriminator is not None:
            attention = attention.joined(self._in_batches(self._discriminator_attention, images, labels))
        return images, attention

    def inputs(
        self, classes: Classes = None, num: int | None = None, seed: int = 0, truncation: float = math.inf
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws latents [N, Z] float32 and labels [N] int32 for the generator; arguments and errors as for `sample`."""
        latents, labels = self.requests(classes, num, seed, truncation)
        return latents[:], labels

    def requests(
        self, classes: Classes = None, num: int | None = None, seed: int = 0, truncation: float = math.inf
    ) -> tuple[Latents, np.ndarray]:
        """Returns what `inputs` does, with latents that are drawn as they are asked for."""
        labels = self.card.labels(classes)
        num = len(labels) if num is None else _whole("num", num, 1, MOST_IMAGES)
        seed = _whole("seed", seed, 0, MOST_SEED)
        if isinstance(truncation, str) or not truncation > 0:
            raise InputError(f"truncation = {truncation!r} must be a number greater than 0.")
        return self.sampler.latents(num, stream_key(seed, "samples"), truncation), np.resize(labels, num)

    def batches(self, latents: np.ndarray | Latents, labels: np.ndarray) -> Iterator[np.ndarray]:
        """Yields images [n, H, W, 3] uint8 of latents [N, Z] and labels [N] call by call, and prints the progress."""
        done = 0
        with ImageCounter("sampling", len(labels)) as counter:
            for images in self.sampler.batches(self.variables, latents, labels):
                yield images
                done += len(images)
                counter.show(done)

    def discriminate(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, Tree]:
        """Returns logits [N] and each layer's attention weights [N, L, M]; images [N, H, W, 3] uint8, labels [N]."""
        assert self.discriminator is not None
        return jax.device_get(_discriminate(self.discriminator, self.discriminator_variables, images, labels))

    def _generator_attention(self, latents: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, AttentionMaps]:
        images, maps = self.sampler.attention(self.variables, latents, labels)
        return images, attention_of("generator", maps, self.variables["params"])

    def _discriminator_attention(self, images: np.ndarray, labels: np.ndarray) -> AttentionMaps:
        _, maps = self.discriminate(images, labels)
        return attention_of("discriminator", maps, self.discriminator_variables["params"])

    def _in_batches(self, function: Any, inputs: np.ndarray, labels: np.ndarray) -> Any:
        parts = [function(inputs[part], labels[part]) for part in self.sampler.calls(len(labels))]
        return jax.tree.map(lambda *each: np.concatenate(each) if np.ndim(each[0]) else each[0], *parts)

    def _checked(self, images: np.ndarray, classes: Classes) -> tuple[np.ndarray, np.ndarray]:
        """Returns images and a label for each. Raises InputError unless the discriminator can take them."""
        if self.discriminator is None:
            raise InputError(f"the model {self.card.name} has no discriminator: leave images out.")
        images, side = np.asarray(images), self.resolution
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 3) or not len(images):
            raise InputError(
                f"images are {images.dtype} {list(images.shape)}, but this model takes uint8 [N, {side}, {side}, 3]:"
                " resize and convert them."
            )
        labels = self.card.labels([0] if classes is None else classes)
        if len(labels) not in (1, len(images)):
            raise InputError(f"{len(labels)} classes for {len(images)} images: give one of all, or one of each.")
        return images, np.resize(labels, len(images))


def discriminate(
    discriminator: Discriminator, discriminator_variables: Tree, images: jax.Array, labels: jax.Array
) -> tuple[jax.Array, Tree]:
    """Returns logits [N] and each layer's attention weights [N, L, M]; images [N, H, W, 3] uint8, labels [N]. Pure."""
    logits, sown = discriminator.apply(
        discriminator_variables, to_signed_float(images), labels, mutable=[ATTENTION_MAPS]
    )
    return logits, sown_weights(sown)


_discriminate = jax.jit(discriminate, static_argnums=0)


@kept
def compile_discrimination(mesh: Mesh) -> Callable[..., tuple[jax.Array, Tree]]:
    """Returns `discriminate` as a program whose results are on every device of a mesh."""
    return jax.jit(discriminate, static_argnums=0, out_shardings=replicated(mesh))


def _whole(name: str, value: Any, least: int, most: int) -> int:
    """Returns an argument that is a whole number; raises InputError if it is none or out of range."""
    if not hasattr(value, "__index__") or not least <= value <= most:
        raise InputError(f"{name} = {value!r} must be a whole number from {least} to {most:,}.")
    return int(value)
