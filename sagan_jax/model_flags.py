"""The flags with which programs name a trained model, and the model that they name."""

import argparse
from pathlib import Path

from jax.sharding import Mesh

from sagan_jax.errors import InputError
from sagan_jax.portable.folder import load_model
from sagan_jax.sampling.model import Model
from sagan_jax.training.trained import NEWEST, open_trained

PRETRAINED = Path(__file__).with_name("pretrained")  # models that come with this package, by name
DEFAULT = "digits"
CALL_SIZE = 16  # images per call and device; the same for all programs, since other sizes round otherwise


def add_model_flags(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """--workdir or --model, and --checkpoint; returns the group of the first two."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--workdir", metavar="RUN", help="folder of a run")
    source.add_argument(
        "--model",
        metavar="DIR",
        help=f"portable model that sagan_jax.export wrote, or the name of one that comes along: {', '.join(names())}"
        f" ({DEFAULT}, where no --workdir is given)",
    )
    parser.add_argument("--checkpoint", metavar="STEP", help=f"of a run: a step, 'best' or 'newest' ({NEWEST})")
    return source


def open_named_model(flags: argparse.Namespace, mesh: Mesh, *, with_discriminator: bool = False) -> Model:
    """The model that the flags name; with its discriminator if that is wanted. Raises InputError if there is none."""
    call_size = CALL_SIZE * mesh.devices.size
    if flags.workdir is not None:
        return open_trained(
            flags.workdir, flags.checkpoint or NEWEST, mesh, call_size, with_discriminator=with_discriminator
        )
    if flags.checkpoint is not None:
        raise InputError(f"--checkpoint={flags.checkpoint} goes with --workdir: a portable model has one state only.")
    model = DEFAULT if flags.model is None else flags.model
    return load_model(
        str(PRETRAINED / model) if model in names() else model, mesh, call_size, with_discriminator=with_discriminator
    )


def names() -> list[str]:
    """Of the models that come with this package."""
    return sorted(path.name for path in PRETRAINED.iterdir() if path.is_dir())
