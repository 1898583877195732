"""How real images reach the devices: all of them once and then indices, or batch by batch."""

import concurrent.futures
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
from sagan_jax.data.pipeline import CHUNK, Pipeline, checked_labels
from sagan_jax.data.source import ImageSource, ImageStream
from sagan_jax.errors import InputError
from sagan_jax.runtime.sharding import batch_sharding, replicated, to_global
from sagan_jax.runtime.storage import format_bytes

RESIDENCES = ("auto", "device", "host")


@dataclasses.dataclass(frozen=True)
class Feed:
    """The inputs of every step of a run, which `real_batch` makes a batch of.

    Attributes:
      pipeline: the data set and its order.
      mesh: the devices.
      resident: the whole data set on every device, as images [N, H * W * 3] uint8 and labels [N]; or None.
    """

    pipeline: Pipeline
    mesh: Mesh
    resident: Batch | None

    def inputs(self, first_step: int, last_step: int) -> Iterator[Any]:
        """For each step a `Batch`, or where images are resident their indices [S, B] int32; spread over the devices."""
        to_devices = functools.partial(to_global, batch_sharding(self.mesh))
        read = self.pipeline.batches if self.resident is None else self.pipeline.index_batches
        return read(first_step, last_step, finish=to_devices)


def open_feed(config: ConfigDict, pipeline: Pipeline, mesh: Mesh) -> Feed:
    """Places the data set on the devices if it `stays_on_device`, and tells which it is."""
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
    """Bytes of the whole data set at the resolution of the run."""
    return len(source) * config.data.resolution**2 * 3


def check_residency(config: ConfigDict, source: ImageSource | ImageStream) -> None:
    """Raises InputError if the data set is to lie on the devices but cannot."""
    if config.data.residency != "device":
        return
    if not isinstance(source, ImageSource):
        raise InputError(
            f"data.residency = 'device' needs random access to images, which {source.name} lacks: prepare it with"
            " python -m sagan_jax.prepare, or use 'auto'."
        )
    size = resident_size(config, source)
    memory = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", size)
    if size > memory:
        raise InputError(
            f"data.residency = 'device', but {source.name} takes {format_bytes(size)} and a device has"
            f" {format_bytes(memory)}: use 'auto' or a smaller data.resolution."
        )


def stays_on_device(config: ConfigDict, source: ImageSource | ImageStream) -> bool:
    """Whether the data set goes to the devices as a whole."""
    if config.data.residency == "auto":
        return isinstance(source, ImageSource) and resident_size(config, source) <= config.data.resident_gib * 2**30
    return bool(config.data.residency == "device")


def load_all(source: ImageSource, resolution: int, threads: int) -> Batch:
    """Every image [N, H * W * 3] uint8 and label [N], in the order of the data set.

    Images are flat because accelerators pad short last dimensions: of 3 channels a TPU would make 128.
    """
    images = np.empty((len(source), resolution * resolution * 3), np.uint8)
    labels = np.empty(len(source), np.int32)

    def load(first: int) -> int:
        indices = np.arange(first, min(first + CHUNK, len(source)))
        pixels, labels[indices] = source.load(indices)
        images[indices] = pixels.reshape(len(indices), -1)
        return len(indices)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool, _progress(len(source)) as bar:
        tasks = [pool.submit(load, first) for first in range(0, len(source), CHUNK)]
        try:
            for task in tasks:
                bar.update(task.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Batch(images, checked_labels(source, labels))


def real_batch(resident: Batch | None, inputs: Any, resolution: int) -> Batch:
    """The batch of one step from its inputs, see `Feed`; part of the compiled step."""
    if resident is None:
        return inputs
    images, labels = (jnp.take(x, inputs, axis=0, mode="clip") for x in resident)
    return Batch(images.reshape(*inputs.shape, resolution, resolution, 3), labels)


def _progress(images: int) -> tqdm.tqdm:
    # Shown only where one would wait for it, and only to people.
    return tqdm.tqdm(total=images, desc="loading", unit=" images", delay=2, leave=False, disable=None)
