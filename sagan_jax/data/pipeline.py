"""Batches for steps: this process's slice of each step's images, loaded ahead of time."""

from collections.abc import Iterator

import grain
import jax
import numpy as np
from ml_collections import ConfigDict

from sagan_jax.data.batch import Batch
from sagan_jax.data.order import image_index
from sagan_jax.data.source import ImageSource, ImageStream
from sagan_jax.errors import InputError


def resolve_num_classes(config: ConfigDict, source: ImageSource | ImageStream) -> int:
    """`model.num_classes` with -1 replaced by the number of classes of the data.

    Raises:
      InputError: a conditional model has another number of classes than the data.
    """
    wanted, present = config.model.num_classes, len(source.class_names)
    if wanted == -1:
        return present
    if wanted not in (0, present):
        raise InputError(
            f"model.num_classes = {wanted}, but {source.name} has {present} classes, so labels would be out of range"
            f" or never used: set it to {present}, or to 0 for an unconditional model."
        )
    return wanted


class Pipeline:
    """The real images of every step, as a function of (seed, step).

    Args:
      source: the data set.
      seed: of the run.
      updates: discriminator updates per step, S.
      batch_size: images per update over all processes, B.
      read_threads: images loaded at a time.
      prefetch_steps: steps loaded ahead.
      conditional: whether labels matter; all are 0 otherwise.
    """

    def __init__(
        self,
        source: ImageSource | ImageStream,
        *,
        seed: int,
        updates: int,
        batch_size: int,
        read_threads: int,
        prefetch_steps: int,
        conditional: bool,
    ):
        self.source = source
        self.seed = seed
        self.updates = updates
        self.batch_size = batch_size
        self.local_batch_size = batch_size // jax.process_count()
        self.read_threads = read_threads
        self.prefetch_steps = prefetch_steps
        self.conditional = conditional

    def batches(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """The batches of steps first_step .. last_step - 1, loaded ahead; images [S, local B, H, W, 3]."""
        per_step = self.updates * self.local_batch_size
        first, last = first_step * per_step, last_step * per_step
        ahead = max(self.read_threads, self.prefetch_steps * per_step)
        if isinstance(self.source, ImageSource):
            positions = grain.MapDataset.range(first, last).map(self._load)
            read_options = grain.ReadOptions(num_threads=self.read_threads, prefetch_buffer_size=ahead)
            images = iter(positions.to_iter_dataset(read_options))
        else:
            images = self.source.read(self.seed, first, self.read_threads, ahead)
        for _ in range(first_step, last_step):
            yield self._stack([next(images) for _ in range(per_step)])

    def batch_for_step(self, step: int) -> Batch:
        """The same batch, of one step and loaded now. For sources with random access."""
        per_step = self.updates * self.local_batch_size
        return self._stack([self._load(position) for position in range(step * per_step, (step + 1) * per_step)])

    def _load(self, local_position: int) -> tuple[np.ndarray, int]:
        """The image at a position of this process's own sequence, and its label."""
        update, offset = divmod(local_position, self.local_batch_size)
        position = update * self.batch_size + jax.process_index() * self.local_batch_size + offset
        assert isinstance(self.source, ImageSource)
        return self.source.load(image_index(self.seed, position, len(self.source)))

    def _stack(self, examples: list[tuple[np.ndarray, int]]) -> Batch:
        images = np.stack([image for image, _ in examples])
        labels = np.asarray([label for _, label in examples], np.int32)
        num_classes = len(self.source.class_names)
        wrong = labels[(labels < 0) | (labels >= num_classes)]
        if len(wrong):
            raise InputError(
                f"{self.source.name} has the label {wrong[0]}, which is out of range: with {num_classes} classes labels"
                f" must be 0 to {num_classes - 1}; mend the data set."
            )
        if not self.conditional:
            labels = np.zeros_like(labels)
        shape = (self.updates, self.local_batch_size)
        return Batch(images.reshape(*shape, *images.shape[1:]), labels.reshape(shape))
