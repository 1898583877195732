"""How real images reach the devices: all of them once and then indices, or batch by batch."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sagan_jax.data.batch import Batch
from sagan_jax.data.pipeline import CHUNK, Pipeline, checked_labels, map_ahead
from sagan_jax.data.source import ImageSource, ImageStream
from sagan_jax.errors import InputError
from sagan_jax.runtime.sharding import batch_sharding, replicated, to_global
from sagan_jax.runtime.storage import format_bytes

RESIDENCES = ("auto", "device", "host")


@dataclasses.dataclass(frozen=True)
class Feed:
    """The inputs of every step of a run, from which `real_batch` makes its batch.

    Attributes:
      pipeline: the data set and its order.
      mesh: the devices.
      resident: the whole data set on every device, as images [N, H * W * 3] uint8 and labels [N]; or None.
    """

    pipeline: Pipeline
    mesh: Mesh
    resident: Batch | None

    def inputs(self, first_step: int, last_step: int) -> Iterator[Any]:
        """Yields for each step a `Batch`, or indices [S, B] int32 of resident images; sharded over the devices."""
        to_devices = functools.partial(to_global, batch_sharding(self.mesh))
        read = self.pipeline.batches if self.resident is None else self.pipeline.index_batches
        return read(first_step, last_step, finish=to_devices)


def open_feed(config: ConfigDict, pipeline: Pipeline, mesh: Mesh) -> Feed:
    """Places the data set on the devices if it `stays_on_device`; prints which."""
    source = pipeline.source
    size = resident_size(config, source)
    if not stays_on_device(config, source):
        print(f"images         read as they are needed ({format_bytes(size)} in all)", flush=True)
        return Feed(pipeline, mesh, None)
    print(f"images         all on each device ({format_bytes(size)}); steps get indices", flush=True)
    assert isinstance(source, ImageSource)
    whole = load_all(source, config.data.resolution, config.data.read_threads)
    labels = whole.labels if pipeline.conditional else np.zeros_like(whole.labels)
    return Feed(pipeline, mesh, to_global(replicated(mesh), Batch(whole.images, labels)))


def resident_size(config: ConfigDict, source: ImageSource | ImageStream) -> int:
    """Returns the bytes of the whole data set at the resolution of the run."""
    return len(source) * config.data.resolution**2 * 3


def check_residency(config: ConfigDict, source: ImageSource | ImageStream) -> None:
    """Raises InputError if the config wants the data set on the devices, but it lacks random access or is too large."""
    if config.data.residency != "device":
        return
    if not isinstance(source, ImageSource):
        raise InputError(
            f"needs random access to images, which {source.name} lacks",
            field="data.residency",
            value="device",
            remedy="prepare it with python -m sagan_jax.prepare, or use 'auto'",
        )
    size = resident_size(config, source)
    memory = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", size)
    if size > memory:
        raise InputError(
            f", but {source.name} takes {format_bytes(size)} and a device has {format_bytes(memory)}",
            field="data.residency",
            value="device",
            remedy="use 'auto' or a smaller data.resolution",
        )


def stays_on_device(config: ConfigDict, source: ImageSource | ImageStream) -> bool:
    """Returns whether the whole data set is placed on the devices."""
    if config.data.residency == "auto":
        return isinstance(source, ImageSource) and resident_size(config, source) <= config.data.resident_gib * 2**30
    return bool(config.data.residency == "device")


def load_all(source: ImageSource, resolution: int, threads: int) -> Batch:
    """Loads every image [N, H * W * 3] uint8 and label [N], in the order of the data set.

    Images are flat because accelerators pad short last dimensions: a TPU would pad 3 channels to 128.
    """
    images = np.empty((len(source), resolution * resolution * 3), np.uint8)
    labels = np.empty(len(source), np.int32)

    def load(first: int) -> int:
        indices = np.arange(first, min(first + CHUNK, len(source)))
        pixels, labels[indices] = source.load(indices)
        images[indices] = pixels.reshape(len(indices), -1)  # in the thread, which is faster than after it
        return len(indices)

    with _progress(len(source)) as bar:
        for count in map_ahead(load, range(0, len(source), CHUNK), threads, ahead=2 * threads):
            bar.update(count)
    return Batch(images, checked_labels(source, labels))


def real_batch(resident: Batch | None, inputs: Any, resolution: int) -> Batch:
    """Makes the batch of one step from its inputs, see `Feed`; part of the compiled step."""
    if resident is None:
        return inputs
    images, labels = (jnp.take(x, inputs, axis=0, mode="clip") for x in resident)
    return Batch(images.reshape(*inputs.shape, resolution, resolution, 3), labels)


def _progress(images: int) -> tqdm.tqdm:
    # Shown only after 2 s, and only on a terminal.
    return tqdm.tqdm(total=images, desc="loading", unit=" images", delay=2, leave=False, disable=None)
