"""Opens a trained model for use in Python: by its name, from an exported folder, or from a run's workdir."""

from pathlib import Path

from etils import epath

from sagan_jax.errors import InputError, os_errors_as_input_errors
from sagan_jax.portable.folder import CARD, load_model
from sagan_jax.runtime.compilation_cache import enable_compilation_cache
from sagan_jax.runtime.jax_settings import check_settings_of_jax
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.user_paths import user_path
from sagan_jax.runtime.workdir import CONFIG_FILE, DATA_FILE
from sagan_jax.sampling.model import Model
from sagan_jax.training.networks import Networks
from sagan_jax.training.trained import NEWEST, open_trained

PRETRAINED = Path(__file__).with_name("pretrained")  # models that come with this package, by name
CALL_SIZE = 16  # images per call and device; the same in all programs, since other sizes round otherwise


def load(name_or_path: epath.PathLike, *, checkpoint: str | int = NEWEST, networks: Networks | None = None) -> Model:
    """Opens a trained model, on all devices.

    Args:
      name_or_path: the name of a model that comes with this package, such as "digits"; or a folder, also in a bucket
        (gs://...): one that `sagan_jax.export` wrote, or a run's workdir.
      checkpoint: of a workdir: "newest", "best" or a step.
      networks: of a workdir: the modules that it was trained with, where they are not those of its config.

    Raises:
      InputError: there is no such model, or its files are damaged or do not fit; a ValueError.

    Example:
      images = sagan_jax.load("digits").sample(["3", "7"], num=16)  # [16, 16, 16, 3] uint8
    """
    check_settings_of_jax()
    enable_compilation_cache()
    with os_errors_as_input_errors():
        mesh, folder = make_mesh(), model_folder(name_or_path)
        call_size = CALL_SIZE * mesh.devices.size
        if (folder / CARD).exists():
            if checkpoint != NEWEST or networks is not None:
                raise InputError(
                    f"{name_or_path} is an exported model, which has one state and the networks of its card: leave"
                    " checkpoint and networks out, or give the workdir of its run."
                )
            return load_model(folder, mesh, call_size, with_discriminator=True)
        if (folder / CONFIG_FILE).exists() and (folder / DATA_FILE).exists():
            return open_trained(folder, str(checkpoint), mesh, call_size, with_discriminator=True, networks=networks)
    raise InputError(
        f"{name_or_path} is neither a model that comes along ({', '.join(pretrained_names())}), nor a folder that"
        f" sagan_jax.export wrote (no {CARD}), nor the workdir of a run (no {CONFIG_FILE} and {DATA_FILE}): give one of"
        " these."
    )


def model_folder(name_or_path: epath.PathLike) -> epath.Path:
    """Returns the folder of a model that comes with this package, by its name; or the folder of this path."""
    return user_path(PRETRAINED / name_or_path if name_or_path in pretrained_names() else name_or_path)


def pretrained_names() -> list[str]:
    """Returns the names of the models that come with this package."""
    return sorted(path.name for path in PRETRAINED.iterdir() if path.is_dir())
