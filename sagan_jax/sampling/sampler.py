"""The compiled functions of a generator: images, attention weights and standing statistics, on all devices."""

import functools
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sagan_jax.data.batch import to_uint8
from sagan_jax.models.attention import COLLECTION as ATTENTION_MAPS
from sagan_jax.models.discriminator import Discriminator
from sagan_jax.models.generator import Generator
from sagan_jax.models.latent_prior import LatentPrior
from sagan_jax.models.plain import plain_network, plain_params
from sagan_jax.models.standing_statistics import batch_moments, standing_statistics
from sagan_jax.runtime.programs import kept
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import image_sharding, put_global, replicated, shard_batch

Tree = Any  # nested dicts of arrays

# Two programs that exchange arrays between devices may wait for each other forever where two threads start them in
# another order on one device than on the next. So a process runs one after the other.
_one_at_a_time = threading.Lock()
DRAWN_AT_ONCE = 4096  # latents
VECTOR = 16  # numbers in the longest vector that a CPU computes with


class Latents:
    """Latents [N, Z] float32 that are drawn when they are asked for, so that any number of them takes no memory.

    Number i depends on the key and i alone. Numbers beyond +-truncation are drawn again.
    """

    def __init__(self, count: int, size: int, key: jax.Array, truncation: float):
        self._count, self._size, self._key, self._truncation = count, size, key, truncation

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        numbers = np.asarray(range(self._count)[part] if isinstance(part, slice) else part, np.int32)
        # Vector instructions and those for the rest of an array round otherwise: with whole vectors there is no rest.
        whole = np.resize(numbers, -(-len(numbers) // VECTOR) * VECTOR)
        keys = jax.vmap(functools.partial(jax.random.fold_in, self._key))(jnp.asarray(whole))
        return np.asarray(jax.vmap(self._draw)(keys))[: len(numbers)]

    def _draw(self, key: jax.Array) -> jax.Array:
        if math.isinf(self._truncation):
            return jax.random.normal(key, (self._size,))
        return jax.random.truncated_normal(key, -self._truncation, self._truncation, (self._size,))


class Sampler:
    """Samples one generator. Weights are arguments of every call; each function is compiled when it is first called.

    Args:
      generator: the module.
      prior: distribution of latents and labels, for the standing statistics.
      mesh: the devices.
      batch_size: images in each batch of the standing statistics.
      standing_batches: number of these batches.
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
        self.generator = plain_network(generator)
        self.prior = prior
        self.batch_size = batch_size
        self.call_size = call_size or batch_size
        self.standing_batches = standing_batches
        self.mesh = mesh
        self._compiled = compile_generator(generator, mesh)
        self._moments = compile_moments(self.generator, prior, mesh, batch_size)

    def freeze(self, params: Tree, seed: int) -> Tree:
        """Returns the plain generator's variables for sampling: exact singular values and standing statistics.

        Args:
          params: weights to sample with.
          seed: of the latents for which the moments are measured.
        """
        keys = jax.random.split(stream_key(seed, "standing statistics"), self.standing_batches)
        with _one_at_a_time:
            variables = {"params": self._compiled.normalize(params)}
            moments = [jax.block_until_ready(self._moments(variables, key)) for key in keys]
            return variables | {"batch_stats": standing_statistics(moments)}

    def latents(self, count: int, key: jax.Array, truncation: float = math.inf) -> "Latents":
        """Returns latents [count, Z] that are drawn as they are asked for, see `Latents`."""
        return Latents(count, self.prior.latent_size, key, truncation)

    def fixed_latents(self, count: int, key: jax.Array, truncation: float = math.inf) -> np.ndarray:
        """Draws [count, Z] float32, normal within +-truncation; the first n are the same for every count >= n."""
        return self.latents(count, key, truncation)[:]

    def balanced_labels(self, count: int, seed: int) -> np.ndarray:
        """Returns [count] int32: each class in turn, or drawn by the prior's class frequencies where it has them."""
        classes, frequencies = max(1, self.prior.num_classes), self.prior.class_frequencies
        if frequencies:
            return np.random.default_rng(seed).choice(classes, count, p=frequencies).astype(np.int32)
        return np.arange(count, dtype=np.int32) % classes

    def calls(self, total: int) -> Iterator[slice]:
        """Yields slices of `call_size` that cover range(total)."""
        return (slice(start, start + self.call_size) for start in range(0, total, self.call_size))

    def batches(self, variables: Tree, latents: "np.ndarray | Latents", labels: np.ndarray) -> Iterator[np.ndarray]:
        """Yields images [n, H, W, 3] uint8 of latents [N, Z] and labels [N], `call_size` at a time."""
        block = self.call_size * max(1, DRAWN_AT_ONCE // self.call_size)
        for start in range(0, len(labels), block):
            drawn, of_these = latents[start : start + block], labels[start : start + block]
            for part in self.calls(len(of_these)):
                yield self._padded(self._compiled.images, variables, drawn[part], of_these[part], self.call_size)

    def images(self, variables: Tree, latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns images [N, H, W, 3] uint8 of latents [N, Z] and labels [N]; any N."""
        return np.concatenate(list(self.batches(variables, latents, labels)))

    def attention(self, variables: Tree, latents: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, Tree]:
        """Returns images [N, H, W, 3] uint8 and each layer's attention weights [N, L, M] by its name, in one call."""
        size = -(-len(labels) // self.mesh.devices.size) * self.mesh.devices.size
        return self._padded(self._compiled.images_and_maps, variables, latents, labels, size)

    def _padded(self, function: Any, variables: Tree, latents: np.ndarray, labels: np.ndarray, size: int) -> Any:
        """Calls with exactly `size` rows, the given ones and then repeats of them; returns those of the given ones."""
        rows = np.arange(size) % len(labels)
        with _one_at_a_time:
            inputs = put_global(image_sharding(self.mesh), (latents[rows], labels[rows].astype(np.int32)))
            outputs = jax.device_get(function(variables, *inputs))
        return jax.tree.map(lambda x: x[: len(labels)], outputs)


class CompiledGenerator(NamedTuple):
    """The programs of a generator.

    Attributes:
      normalize: `plain_params`.
      images: (variables, latents [B, Z], labels [B]) -> images [B, H, W, 3] uint8.
      images_and_maps: likewise -> images, and each layer's attention weights [B, L, M].
    """

    normalize: Callable[[Tree], Tree]
    images: Callable[[Tree, jax.Array, jax.Array], jax.Array]
    images_and_maps: Callable[[Tree, jax.Array, jax.Array], tuple[jax.Array, Tree]]


@kept
def compile_generator(generator: Generator, mesh: Mesh) -> CompiledGenerator:
    """Returns a generator's programs over a mesh, with images sharded over the devices."""
    plain, sharded, whole = plain_network(generator), image_sharding(mesh), replicated(mesh)

    def images(variables: Tree, latents: jax.Array, labels: jax.Array) -> jax.Array:
        images: Any = plain.apply(variables, latents, labels, train=False)
        return to_uint8(images)

    def images_and_maps(variables: Tree, latents: jax.Array, labels: jax.Array) -> tuple[jax.Array, Tree]:
        images, sown = plain.apply(variables, latents, labels, train=False, mutable=[ATTENTION_MAPS])
        return to_uint8(images), sown_weights(sown)

    places: Any = {"in_shardings": (whole, sharded, sharded), "out_shardings": whole}
    return CompiledGenerator(
        compile_normalization(generator, mesh), jax.jit(images, **places), jax.jit(images_and_maps, **places)
    )


@kept
def compile_normalization(network: Generator | Discriminator, mesh: Mesh) -> Callable[[Tree], Tree]:
    """Returns `plain_params` of a network as a program over a mesh."""
    return jax.jit(functools.partial(plain_params, network), out_shardings=replicated(mesh))


@kept
def compile_moments(
    generator: Generator, prior: LatentPrior, mesh: Mesh, batch_size: int
) -> Callable[[Tree, jax.Array], Tree]:
    """Returns the program (variables, key) -> `batch_moments` of a plain generator for a batch drawn from the prior."""

    def moments(variables: Tree, key: jax.Array) -> Tree:
        latents, labels = prior.draw(batch_size, key)
        if batch_size % mesh.devices.size == 0:  # a run may be opened on more devices than it had
            latents, labels = shard_batch(mesh, (latents, labels))
        return batch_moments(generator, variables, latents, labels)

    return jax.jit(moments, out_shardings=replicated(mesh))


def sown_weights(sown: Tree) -> dict[str, jax.Array]:
    """Returns the attention weights [N, L, M] that a network has sown, by the names of its layers."""
    return {layer: values["weights"] for layer, values in sown.get(ATTENTION_MAPS, {}).items()}
