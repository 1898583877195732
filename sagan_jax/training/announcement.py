"""What a run says about itself before the first step."""

import json
import time
from collections.abc import Iterator

import jax
import numpy as np
from clu import parameter_overview
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sagan_jax.config import default_config
from sagan_jax.data.overview import class_overview
from sagan_jax.data.remarks import remarks_of
from sagan_jax.data.source import ImageSource, ImageStream
from sagan_jax.runtime.workdir import CLASSES_FILE, PARAMETERS_FILE, write_or_warn
from sagan_jax.runtime.writer import RunWriter
from sagan_jax.training.continuation import settings_of
from sagan_jax.training.state import TrainState


def announce_devices(mesh: Mesh) -> None:
    """Prints the devices."""
    device = mesh.devices.flat[0]
    processes = f", {jax.process_count()} processes" if jax.process_count() > 1 else ""
    print(f"devices        {mesh.devices.size} x {device.device_kind}{processes}, jax {jax.__version__}", flush=True)


def announce_data(config: ConfigDict, source: ImageSource | ImageStream) -> None:
    """Prints what the data set is, and what could be better about it."""
    held_out = f" ({config.data.holdout:,} held out)" if config.data.holdout else ""
    print(f"data           {source.name}: {len(source):,} images{held_out}, {_classes(source.class_names)}", flush=True)
    for remark in remarks(config, source):
        print(f"note: {remark}", flush=True)


def announce_networks(
    config: ConfigDict, source: ImageSource | ImageStream, state: TrainState, writer: RunWriter
) -> None:
    """Prints the networks' sizes; lists all parameters, and all classes, in files of the run's folder."""
    writer.write_texts(int(state.step), {"config": json.dumps(settings_of(config), indent=2)})
    table = class_overview(source)
    if table is not None:
        write_or_warn(writer.workdir / CLASSES_FILE, ("\n".join(table) + "\n").encode())
    listing = writer.workdir / PARAMETERS_FILE
    networks = {"generator": state.generator.params, "discriminator": state.discriminator.params}
    for name, params in networks.items():
        print(f"{name:<14} {sum(x.size for x in jax.tree.leaves(params)):,} parameters, listed in {listing}")
    table = parameter_overview.get_parameter_overview(networks, include_stats=False)
    write_or_warn(listing, f"{table}\n".encode())
    start = "starting" if int(state.step) == 0 else "continuing"
    print(f"{start} at step {int(state.step):,} of {config.train.steps:,} in {writer.workdir}", flush=True)


def remarks(config: ConfigDict, source: ImageSource | ImageStream) -> Iterator[str]:
    """Sentences on the images, on what `prepare` would save, and on what a stream cannot promise."""
    yield from remarks_of(source)
    kind, _, rest = config.data.source.partition(":")
    if kind in ("folder", "tfds"):
        given = rest if kind == "folder" else f"{config.data.source} --split={config.data.split}"
        given += "".join(f" {flag}" for flag in _tfds_flags(config)) if kind == "tfds" else ""
        command = f"python -m sagan_jax.prepare --source={given} --out=DIR --resolution={config.data.resolution}"
        yield (
            f"images are decoded and resized while they are read{_decoding_speed(source)}; {command} does it once,"
            " and data.source=prepared:DIR then reads finished pixels"
        )
    if not isinstance(source, ImageSource):
        yield (
            "TFRecord data is a stream: a resumed run goes on with the images that would have followed only on the"
            " same number of processes and version of TensorFlow; prepared data has no such limit"
        )


def _tfds_flags(config: ConfigDict) -> list[str]:
    """Returns the flags of `prepare` for fields that do not have their default."""
    given, usual = config.data, default_config().data
    fields = (field for field in ("data_dir", "image_key", "label_key") if given[field] != usual[field])
    return [f"--{field.replace('_', '-')}={given[field]}" for field in fields]


def _decoding_speed(source: ImageSource | ImageStream) -> str:
    if not isinstance(source, ImageSource):
        return ""
    indices = np.linspace(0, len(source) - 1, 16).round().astype(int)
    source.load(indices[:1])  # opens files
    start = time.perf_counter()
    source.load(indices)
    return f" (about {len(indices) / (time.perf_counter() - start):,.0f} images/s per core here)"


def _classes(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"{len(names)} classes ({shown})"
