"""Batches for steps: this process's slice of each step's images, or of their indices, made ahead of time."""

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

CHUNK = 32  # images that one thread loads in one go, at most


def resolve_num_classes(config: ConfigDict, source: ImageSource | ImageStream) -> int:
    """`model.num_classes` with -1 replaced by the number of classes of the data, 0 where it is only one.

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
    """The order that `data.real_class_sampling` names. Raises InputError where the labels are not known for it."""
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
      config: of the run, with `model.num_classes` known.
      source: the data set.

    Raises:
      InputError: the data set cannot be read in the order that `config.data` asks for.
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
        """The batches of steps first_step .. last_step - 1, loaded ahead; images [S, local B, H, W, 3].

        Args:
          first_step, last_step: as said.
          finish: applied to every batch; ahead of time too where there is random access.
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
        """The same batch, of one step and loaded now. For sources with random access."""
        return self._join([self._load(step * self.per_step, self.per_step)])

    def index_batches(
        self, first_step: int, last_step: int, finish: Callable[[Any], Any] = lambda x: x
    ) -> Iterator[Any]:
        """Indices [S, local B] int32 into the data set in place of the images of `batches`, else the same."""

        def indices(step: int) -> np.ndarray:
            positions = self._positions(step * self.per_step, self.per_step)
            return self.order(positions).astype(np.int32).reshape(self.updates, self.local_batch_size)

        steps = grain.MapDataset.range(first_step, last_step).map(indices).map(finish)
        return iter(steps.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=self.prefetch_steps)))

    def _positions(self, first: int, count: int) -> np.ndarray:
        """Positions in the run of images first .. first + count - 1 of this process's own sequence."""
        update, offset = np.divmod(np.arange(first, first + count), self.local_batch_size)
        return update * self.batch_size + jax.process_index() * self.local_batch_size + offset

    def _load(self, first: int, count: int) -> Batch:
        assert isinstance(self.source, ImageSource)
        return Batch(*self.source.load(self.order(self._positions(first, count))))

    def _collect(self, examples: Iterator[tuple[np.ndarray, int]]) -> Batch:
        images, labels = zip(*examples, strict=True)
        return self._join([Batch(np.stack(images), np.asarray(labels, np.int32))])

    def _join(self, parts: list[Batch]) -> Batch:
        """Consecutive parts [n, ...] of a step as its batch [S, local B, ...]."""
        images = np.concatenate([part.images for part in parts])
        labels = checked_labels(self.source, np.concatenate([part.labels for part in parts]))
        if not self.conditional:
            labels = np.zeros_like(labels)
        shape = (self.updates, self.local_batch_size)
        return Batch(images.reshape(*shape, *images.shape[1:]), labels.reshape(shape))


def checked_labels(source: ImageSource | ImageStream, labels: np.ndarray) -> np.ndarray:
    """The labels. Raises InputError if one is not that of a class of the source."""
    num_classes = len(source.class_names)
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise InputError(
            f"{source.name} has the label {wrong[0]}, which is out of range: with {num_classes} classes labels"
            f" must be 0 to {num_classes - 1}; mend the data set."
        )
    return labels
