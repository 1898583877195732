"""Batches loaded ahead of time by threads: this process's slice of each step's images, or of their indices."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import grain
import jax
import numpy as np
from ml_collections import ConfigDict

from sagan_jax.data.batch import Batch
from sagan_jax.data.order import BalancedOrder, EpochOrder, Order
from sagan_jax.data.source import ImageSource, ImageStream
from sagan_jax.errors import InputError

CHUNK = 32  # images per call of `ImageSource.load`, at most
EVALUATION_THREADS = 8  # that load images while the devices extract features


def resolve_num_classes(config: ConfigDict, source: ImageSource | ImageStream) -> int:
    """Returns `model.num_classes`, with -1 replaced by the number of classes of the data (0 if there is only one).

    Raises:
      InputError: a conditional model has another number of classes than the data.
    """
    wanted, present = config.model.num_classes, len(source.class_names)
    if wanted == -1:
        return present if present > 1 else 0
    if wanted not in (0, present):
        raise InputError(
            f", but {source.name} has {present} classes, so labels would be out of range or never used",
            field="model.num_classes",
            value=wanted,
            remedy=f"set it to {present}, or to 0 for an unconditional model",
        )
    return wanted


def order_of(config: ConfigDict, source: ImageSource) -> Order:
    """Returns the order that `data.real_class_sampling` names. Raises InputError if it needs unknown labels."""
    if config.data.real_class_sampling == "empirical":
        return EpochOrder(config.seed, len(source))
    if source.labels is None:
        raise _cannot_order(config, f"needs the labels of all images, which {source.name} does not list")
    return BalancedOrder(config.seed, source.labels)


def _cannot_order(config: ConfigDict, problem: str) -> InputError:
    remedy = "prepare it with python -m sagan_jax.prepare, or use 'empirical'"
    return InputError(problem, field="data.real_class_sampling", value=config.data.real_class_sampling, remedy=remedy)


class Pipeline:
    """The real images of every step, as a function of (seed, step).

    Args:
      config: of the run, with `model.num_classes` resolved.
      source: the data set.

    Raises:
      InputError: the data set cannot be read in the order that `config.data` names.
    """

    def __init__(self, config: ConfigDict, source: ImageSource | ImageStream):
        self.source = source
        self.seed = config.seed
        self.updates = config.train.discriminator_updates  # S
        self.batch_size = config.train.batch_size  # B, over all processes
        self.local_batch_size = self.batch_size // jax.process_count()
        self.per_step = self.updates * self.local_batch_size
        self.read_threads = config.data.read_threads
        self.prefetch_steps = config.data.prefetch_steps
        self.conditional = config.model.num_classes > 0
        if isinstance(source, ImageSource):
            self.order = order_of(config, source)
        elif config.data.real_class_sampling != "empirical":
            raise _cannot_order(config, f"needs random access to images, which {source.name} lacks")

    def batches(self, first_step: int, last_step: int, finish: Callable[[Any], Any] = lambda x: x) -> Iterator[Any]:
        """Yields the `Batch` [S, local B, ...] of each step from first_step to last_step - 1, loaded ahead.

        Args:
          first_step, last_step: range of steps.
          finish: applied to every batch; with random access ahead of time too.
        """
        if not isinstance(self.source, ImageSource):
            first = first_step * self.per_step
            ahead = max(self.read_threads, self.prefetch_steps * self.per_step)
            images = self.source.read(self.seed, first, self.read_threads, ahead)
            return (
                finish(self._collect(itertools.islice(images, self.per_step))) for _ in range(first_step, last_step)
            )

        # Chunks divide an update's slice, so that positions in one are consecutive.
        size = max(n for n in range(1, CHUNK + 1) if self.local_batch_size % n == 0)
        per_step = self.per_step // size
        chunks = grain.MapDataset.range(first_step * per_step, last_step * per_step)
        threads = grain.ReadOptions(
            num_threads=self.read_threads,
            prefetch_buffer_size=max(self.read_threads, self.prefetch_steps * per_step),
        )
        loaded = chunks.map(lambda chunk: self._load(chunk * size, size)).to_iter_dataset(threads)
        steps = loaded.batch(per_step, batch_fn=self._join).map(finish)
        return iter(grain.experimental.ThreadPrefetchIterDataset(steps, prefetch_buffer_size=self.prefetch_steps))

    def batch_for_step(self, step: int) -> Batch:
        """Loads the batch of one step, without threads. Needs a source with random access."""
        return self._join([self._load(step * self.per_step, self.per_step)])

    def index_batches(
        self, first_step: int, last_step: int, finish: Callable[[Any], Any] = lambda x: x
    ) -> Iterator[Any]:
        """Yields indices [S, local B] int32 into the data set instead of the images of `batches`."""

        def indices(step: int) -> np.ndarray:
            positions = self._positions(step * self.per_step, self.per_step)
            return self.order(positions).astype(np.int32).reshape(self.updates, self.local_batch_size)

        steps = range(first_step, last_step)
        return map_ahead(lambda step: finish(indices(step)), steps, threads=1, ahead=self.prefetch_steps)

    def _positions(self, first: int, count: int) -> np.ndarray:
        """Returns the positions in the run of images first .. first + count - 1 of this process's own sequence."""
        update, offset = np.divmod(np.arange(first, first + count), self.local_batch_size)
        return update * self.batch_size + jax.process_index() * self.local_batch_size + offset

    def _load(self, first: int, count: int) -> Batch:
        assert isinstance(self.source, ImageSource)
        return Batch(*self.source.load(self.order(self._positions(first, count))))

    def _collect(self, examples: Iterator[tuple[np.ndarray, int]]) -> Batch:
        images, labels = zip(*examples, strict=True)
        return self._join([Batch(np.stack(images), np.asarray(labels, np.int32))])

    def _join(self, parts: list[Batch]) -> Batch:
        """Joins consecutive parts [n, ...] of a step to its batch [S, local B, ...]."""
        images = np.concatenate([part.images for part in parts])
        labels = checked_labels(self.source, np.concatenate([part.labels for part in parts]))
        if not self.conditional:
            labels = np.zeros_like(labels)
        shape = (self.updates, self.local_batch_size)
        return Batch(images.reshape(*shape, *images.shape[1:]), labels.reshape(shape))


def read_batches(source: ImageSource, indices: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields images [n, H, W, 3] uint8 and labels [n] of the indices in their order, loaded ahead by threads."""

    def load(start: int) -> tuple[np.ndarray, np.ndarray]:
        return source.load(indices[start : start + batch_size])

    return map_ahead(load, range(0, len(indices), batch_size), EVALUATION_THREADS, ahead=2 * EVALUATION_THREADS)


def map_ahead(function: Callable[[int], Any], numbers: range, threads: int, ahead: int) -> Iterator[Any]:
    """Yields function(n) for each n in order, computed up to `ahead` numbers ahead by threads."""
    mapped = grain.MapDataset.range(numbers.start, numbers.stop, numbers.step).map(function)
    return iter(mapped.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)))


def checked_labels(source: ImageSource | ImageStream, labels: np.ndarray) -> np.ndarray:
    """Returns the labels. Raises InputError if one of them is no class of the source."""
    num_classes = len(source.class_names)
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise InputError(
            f"{source.name} has the label {wrong[0]}, which is out of range: with {num_classes} classes labels"
            f" must be 0 to {num_classes - 1}; mend the data set."
        )
    return labels
