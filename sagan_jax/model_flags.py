"""The flags by which programs name a trained model, and the model that they name."""

import argparse

from jax.sharding import Mesh

from sagan_jax.errors import InputError
from sagan_jax.loading import CALL_SIZE, model_folder, pretrained_names
from sagan_jax.portable.folder import load_model
from sagan_jax.sampling.model import Model
from sagan_jax.training.trained import NEWEST, open_trained

DEFAULT = "digits"


def add_model_flags(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Adds --workdir or --model, and --checkpoint; returns the group of the first two."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--workdir", metavar="RUN", help="folder of a run")
    source.add_argument(
        "--model",
        metavar="DIR",
        help="portable model that sagan_jax.export wrote, or the name of one that comes along:"
        f" {', '.join(pretrained_names())} ({DEFAULT}, where no --workdir is given)",
    )
    parser.add_argument("--checkpoint", metavar="STEP", help=f"of a run: a step, 'best' or 'newest' ({NEWEST})")
    return source


def open_named_model(flags: argparse.Namespace, mesh: Mesh, *, with_discriminator: bool = False) -> Model:
    """Opens the model that the flags name; with its discriminator if it is needed. Raises InputError if there is none.

    `sagan_jax.loading.load` does the same in Python, for the same images.
    """
    call_size = CALL_SIZE * mesh.devices.size
    if flags.workdir is not None:
        return open_trained(
            flags.workdir, flags.checkpoint or NEWEST, mesh, call_size, with_discriminator=with_discriminator
        )
    if flags.checkpoint is not None:
        raise InputError(f"--checkpoint={flags.checkpoint} goes with --workdir: a portable model has one state only.")
    folder = model_folder(DEFAULT if flags.model is None else flags.model)
    return load_model(folder, mesh, call_size, with_discriminator=with_discriminator)
