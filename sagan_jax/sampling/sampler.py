"""Samples and attention maps of the averaged generator, on all devices."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sagan_jax.data.batch import in_batches
from sagan_jax.data.transforms import to_uint8
from sagan_jax.models.attention import COLLECTION as ATTENTION_MAPS
from sagan_jax.models.generator import Generator
from sagan_jax.models.latent_prior import LatentPrior
from sagan_jax.models.plain import plain_generator, plain_params
from sagan_jax.models.standing_statistics import batch_moments, standing_statistics
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import image_sharding, put_global, replicated, shard_batch

Tree = Any  # nested dicts of arrays


class Sampler:
    """Compiled functions of one generator; weights are always passed in.

    Args:
      generator: the module.
      prior: of latents and labels, for the standing statistics.
      mesh: the devices.
      batch_size: images of each batch for the standing statistics.
      standing_batches: batches whose moments make these up.
      call_size: images per call, divisible by the number of devices; by default `batch_size`.
    """

    def __init__(
        self,
        generator: Generator,
        prior: LatentPrior,
        mesh: Mesh,
        *,
        batch_size: int,
        standing_batches: int,
        call_size: int | None = None,
    ):
        self.generator = plain_generator(generator)
        self.prior = prior
        self.batch_size = batch_size
        self.call_size = call_size or batch_size
        self.standing_batches = standing_batches
        self.mesh = mesh
        sharded, whole = image_sharding(mesh), replicated(mesh)
        self._normalize = jax.jit(plain_params, out_shardings=whole)
        self._moments = jax.jit(self._random_batch_moments, out_shardings=whole)
        self._images = jax.jit(self._apply, in_shardings=(whole, sharded, sharded), out_shardings=whole)
        self._maps = jax.jit(self._apply_with_maps, in_shardings=(whole, sharded, sharded), out_shardings=whole)

    def freeze(self, params: Tree, seed: int) -> Tree:
        """The variables for sampling, of the plain generator: exact singular values, and standing statistics.

        Args:
          params: weights to sample with.
          seed: of the latents that the moments are measured on.
        """
        variables = {"params": self._normalize(params)}
        keys = jax.random.split(stream_key(seed, "standing statistics"), self.standing_batches)
        # One after the other: CPU devices whose programs exchange something block each other where several run at once.
        moments = [jax.block_until_ready(self._moments(variables, key)) for key in keys]
        return variables | {"batch_stats": standing_statistics(moments)}

    def fixed_latents(self, count: int, key: jax.Array, truncation: float = math.inf) -> np.ndarray:
        """[count, Z] float32, normal within +-truncation; the first n are the same for every count >= n."""
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(count))
        shape = (self.prior.latent_size,)
        if math.isinf(truncation):
            return np.asarray(jax.vmap(lambda k: jax.random.normal(k, shape))(keys))
        return np.asarray(jax.vmap(lambda k: jax.random.truncated_normal(k, -truncation, truncation, shape))(keys))

    def balanced_labels(self, count: int, seed: int) -> np.ndarray:
        """[count] int32: each class in turn, or where the prior has frequencies of classes, drawn by these."""
        classes, frequencies = max(1, self.prior.num_classes), self.prior.class_frequencies
        if frequencies:
            return np.random.default_rng(seed).choice(classes, count, p=frequencies).astype(np.int32)
        return np.arange(count, dtype=np.int32) % classes

    def batches(self, variables: Tree, latents: np.ndarray, labels: np.ndarray) -> Iterator[np.ndarray]:
        """Images [n, H, W, 3] uint8 of latents [N, Z] and labels [N], `call_size` at a time."""
        for part in in_batches(len(labels), self.call_size):
            yield self._padded(self._images, variables, latents[part], labels[part], self.call_size)

    def images(self, variables: Tree, latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Latents [N, Z] and labels [N] -> images [N, H, W, 3] uint8; any N."""
        return np.concatenate(list(self.batches(variables, latents, labels)))

    def attention(self, variables: Tree, latents: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, Tree]:
        """Images [N, H, W, 3] uint8 and the attention weights [N, L, M] of each layer by its name; a few at a time."""
        size = -(-len(labels) // self.mesh.devices.size) * self.mesh.devices.size
        return self._padded(self._maps, variables, latents, labels, size)

    def _padded(self, function: Any, variables: Tree, latents: np.ndarray, labels: np.ndarray, size: int) -> Any:
        """Calls with exactly `size` rows, the given ones and then repeats of them; returns those of the given ones."""
        rows = np.arange(size) % len(labels)
        inputs = put_global(image_sharding(self.mesh), (latents[rows], labels[rows].astype(np.int32)))
        outputs = jax.device_get(function(variables, *inputs))
        return jax.tree.map(lambda x: x[: len(labels)], outputs)

    def _apply(self, variables: Tree, latents: jax.Array, labels: jax.Array) -> jax.Array:
        images: Any = self.generator.apply(variables, latents, labels, train=False)
        return to_uint8(images)

    def _apply_with_maps(self, variables: Tree, latents: jax.Array, labels: jax.Array) -> tuple[jax.Array, Tree]:
        images, sown = self.generator.apply(variables, latents, labels, train=False, mutable=[ATTENTION_MAPS])
        maps = {layer: values["weights"] for layer, values in sown.get(ATTENTION_MAPS, {}).items()}
        return to_uint8(images), maps

    def _random_batch_moments(self, variables: Tree, key: jax.Array) -> Tree:
        latents, labels = self.prior.draw(self.batch_size, key)
        if self.batch_size % self.mesh.devices.size == 0:  # a run may be opened on more devices than it had
            latents, labels = shard_batch(self.mesh, (latents, labels))
        return batch_moments(self.generator, variables, latents, labels)
