"""Where a run begins: whether it is the same run as before, and its newest saved state or a fresh one."""

from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sagan_jax.config import default_config
from sagan_jax.data.source import ImageSource, ImageStream, class_frequencies
from sagan_jax.errors import InputError
from sagan_jax.runtime.checkpoint import Checkpoints
from sagan_jax.runtime.jax_settings import ONCE_RECORDED, recorded_settings, usual_settings
from sagan_jax.runtime.processes import is_host0
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.settings import check_settings, save_settings
from sagan_jax.runtime.workdir import CONFIG_FILE, DATA_FILE
from sagan_jax.training.creation import abstract_state, fresh_state
from sagan_jax.training.state import TrainState
from sagan_jax.training.step_config import TrainStepConfig
from sagan_jax.training.validation import free_fields

JAX = "jax"  # name of the settings of JAX in `CONFIG_FILE`


def check_continuation(
    config: ConfigDict, source: ImageSource | ImageStream, folder: epath.Path, saved: int | None
) -> None:
    """Writes the run's settings, unless it is to continue (from step `saved`) a run with other ones.

    Raises:
      InputError: something that the weights depend on differs.
    """
    if saved is not None:
        check_settings(folder, DATA_FILE, _data(config, source), free=("class_frequencies",), defaults={})
        usual = default_config().to_dict() | {JAX: usual_settings()}
        free = free_fields(config) + tuple(f"{JAX}.{name}" for name in ONCE_RECORDED)
        check_settings(folder, CONFIG_FILE, settings_of(config), free, defaults=usual)
        if saved > config.train.steps:
            raise InputError(
                f", but the run in {folder} has taken {saved} steps already",
                field="train.steps",
                value=config.train.steps,
                remedy="ask for at least as many, or start a new run with another --workdir",
            )
    write_settings(config, source, folder)


def write_settings(config: ConfigDict, source: ImageSource | ImageStream, folder: epath.Path) -> None:
    """Writes what `check_continuation` compares with; in the first process."""
    if is_host0():
        folder.mkdir(parents=True, exist_ok=True)
        save_settings(folder, DATA_FILE, _data(config, source))
        save_settings(folder, CONFIG_FILE, settings_of(config))


def settings_of(config: ConfigDict) -> dict:
    """Returns what the results depend on: the config, and beside it the settings of JAX."""
    return config.to_dict() | {JAX: recorded_settings()}


def settings_are_there(folder: epath.Path) -> bool:
    """Returns whether the settings are there; the folder may have been deleted."""
    return (folder / CONFIG_FILE).exists()


def _data(config: ConfigDict, source: ImageSource | ImageStream) -> dict:
    """Returns the identity of the data, and the class frequencies that sampling needs."""
    identity = {"name": source.name, "num_images": len(source), "class_names": list(source.class_names)}
    return {"data": identity, "class_frequencies": list(class_frequencies(config, source))}


def initial_state(config: ConfigDict, step_config: TrainStepConfig, mesh: Mesh, checkpoints: Checkpoints) -> TrainState:
    """Returns the newest saved state, or a fresh one where nothing is saved; over the devices of the mesh."""
    newest = checkpoints.newest_step()
    if newest is None:
        return fresh_state(step_config, mesh, stream_key(config.seed, "initial weights"))
    return checkpoints.restore(newest, like=abstract_state(step_config, mesh))
