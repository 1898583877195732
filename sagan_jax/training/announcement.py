"""What a run says about itself before the first step."""

import json
from pathlib import Path

import jax
from clu import parameter_overview
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sagan_jax.data.source import ImageSource, ImageStream
from sagan_jax.training.state import TrainState


def announce(
    config: ConfigDict, source: ImageSource | ImageStream, mesh: Mesh, state: TrainState, folder: Path
) -> None:
    """Prints the resolved config, the data, the networks' sizes and the devices."""
    print("config")
    for line in json.dumps(config.to_dict(), indent=2).splitlines()[1:-1]:
        print(line.replace('"', "").rstrip(",{").rstrip())
    print(f"data     {source.name}: {len(source):,} images, {_classes(source.class_names)}")
    for name, network in (("generator", state.generator), ("discriminator", state.discriminator)):
        overview = parameter_overview.get_parameter_overview(network.params, include_stats=False)
        (folder / f"{name}.txt").write_text(overview + "\n")
        count = parameter_overview.count_parameters(network.params)
        print(f"{name:<14} {count:>12,} parameters, listed in {folder / f'{name}.txt'}")
    device = mesh.devices.flat[0]
    print(f"devices  {mesh.devices.size} x {device.device_kind} ({device.platform}), {jax.process_count()} process(es)")
    start = "starting" if int(state.step) == 0 else "continuing"
    print(f"{start} at step {int(state.step):,} of {config.train.steps:,} in {folder}", flush=True)


def _classes(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"{len(names)} classes ({shown})"
