"""What a run says about itself before the first step."""

from pathlib import Path

import jax
from clu import parameter_overview
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sagan_jax.config import flat_fields
from sagan_jax.data.source import ImageSource, ImageStream
from sagan_jax.training.state import TrainState


def announce(
    config: ConfigDict, source: ImageSource | ImageStream, mesh: Mesh, state: TrainState, folder: Path
) -> None:
    """Prints the resolved config, the data, the networks' sizes and the devices; lists all parameters in a file."""
    for field, value in flat_fields(config).items():
        print(f"config.{field} = {value!r}")
    print(f"data           {source.name}: {len(source):,} images, {_classes(source.class_names)}")
    listing = folder / "parameters.txt"
    networks = {"generator": state.generator.params, "discriminator": state.discriminator.params}
    for name, params in networks.items():
        print(f"{name:<14} {sum(x.size for x in jax.tree.leaves(params)):,} parameters, listed in {listing}")
    listing.write_text(parameter_overview.get_parameter_overview(networks, include_stats=False) + "\n")
    device = mesh.devices.flat[0]
    processes = f", {jax.process_count()} processes" if jax.process_count() > 1 else ""
    print(f"devices        {mesh.devices.size} x {device.device_kind}{processes}, jax {jax.__version__}")
    start = "starting" if int(state.step) == 0 else "continuing"
    print(f"{start} at step {int(state.step):,} of {config.train.steps:,} in {folder}", flush=True)


def _classes(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"{len(names)} classes ({shown})"
