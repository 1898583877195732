"""Makes images with a trained model: single files, a sheet, an archive, interpolations, attention.

python -m sagan_jax.sample --workdir=RUN | --model=DIR [--num=64] [--classes=NAME,NAME] [--seed=0] [--truncation=T]
    [--out=DIR] [--npz=FILE] [--attention] [--interpolate=latents|classes]

Needs neither the data set nor the training's config. Image number i of a seed is the same whatever else is asked for.
"""

import argparse
import math
import os
import sys

import numpy as np
from absl import logging
from etils import epath

from sagan_jax.errors import InputError, exit_status, os_errors_as_input_errors
from sagan_jax.model_flags import add_model_flags, open_named_model
from sagan_jax.runtime.compilation_cache import enable_compilation_cache
from sagan_jax.runtime.pictures import encoded_png
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.storage import write_atomic
from sagan_jax.sampling.archive import write_archive
from sagan_jax.sampling.classes import asked_labels
from sagan_jax.sampling.interpolation import between_classes, between_latents
from sagan_jax.sampling.model import Model
from sagan_jax.sampling.output import draw_sheet, next_folder, write_attention, write_images, write_interpolation

OUT = "samples"  # holds a folder per call
MOST = 10_000_000
WAYPOINTS = 4  # of an interpolation, where nothing else is asked for
ROWS = 9  # of an interpolation, at most
ATTENTION_IMAGES = 4


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The flags; exits with one sentence where they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m sagan_jax.sample", description=__doc__.splitlines()[0])
    add_model_flags(parser)
    parser.add_argument(
        "--num", type=_count, metavar="N", help="images, of the classes in turn (64), or latents to interpolate (4)"
    )
    parser.add_argument(
        "--classes", action="append", default=[], metavar="NAME,...", help="by name or number; may be repeated (all)"
    )
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    parser.add_argument("--truncation", type=_positive, default=math.inf, help="draw larger latents again (no limit)")
    parser.add_argument("--out", metavar="DIR", help=f"folder for what is made (a new one in {OUT}/)")
    parser.add_argument("--npz", metavar="FILE", help="all images and labels in one file, in place of single ones")
    parser.add_argument("--attention", action="store_true", help="draw where the first images attend, with numbers")
    parser.add_argument(
        "--interpolate",
        choices=("latents", "classes"),
        help="from each image to the next, or each class to the next: a sheet and an animation in place of single ones",
    )
    parser.add_argument("--frames", type=_count, default=24, metavar="N", help="per way of an interpolation (24)")
    parser.add_argument("--animation", choices=("webp", "gif"), default="webp", help="its file format (webp)")
    flags = parser.parse_args(arguments)
    if not 0 <= flags.seed < 2**32:
        parser.error(f"--seed={flags.seed} must be from 0 to {2**32 - 1}")
    if flags.npz and not flags.npz.endswith(".npz"):
        parser.error(f"--npz={flags.npz} must end with .npz")
    if flags.npz and flags.interpolate:
        parser.error("--npz and --interpolate exclude each other: an interpolation is a sheet and an animation")
    return flags


def main(arguments: list[str] | None = None) -> int:
    """Makes images; returns the exit status."""
    flags = parse_arguments(arguments)
    logging.set_verbosity(logging.ERROR)  # Orbax tells of every file, and warns that it may only read
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    enable_compilation_cache()

    def program() -> None:
        with os_errors_as_input_errors():
            sample(flags)

    return exit_status(program)


def sample(flags: argparse.Namespace) -> None:
    """Makes what the flags ask for, and says where it is."""
    model = open_named_model(flags, make_mesh(), with_discriminator=flags.attention)
    card = model.card
    classes = np.asarray(asked_labels(flags.classes, card.class_names if card.num_classes else ()), np.int32)
    number = flags.num or (WAYPOINTS if flags.interpolate else 64)
    latents = model.sampler.fixed_latents(number, stream_key(flags.seed, "samples"), flags.truncation)
    folder = epath.Path(flags.out).expanduser() if flags.out else next_folder(epath.Path(OUT))
    if flags.attention or not flags.npz:
        folder.mkdir(parents=True, exist_ok=True)
    title = f"{card.name}" + ("" if card.step is None else f" · step {card.step:,}") + f" · seed {flags.seed}"
    print(f"{title} · {card.resolution} px · {len(classes):,} of {max(1, card.num_classes):,} classes")
    labels = np.resize(classes, number)
    if flags.interpolate:
        said(write_ways(flags, model, latents, classes, title, folder))
    elif flags.npz:
        write_archive(model, latents, labels, epath.Path(flags.npz).expanduser())
        said([flags.npz])
    else:
        files = write_images(model, latents, labels, folder / "images")
        write_atomic(folder / "sheet.png", encoded_png(draw_sheet(model, latents, labels, title)))
        said([files[0], *([f"... {len(files):,} files"] if len(files) > 1 else []), folder / "sheet.png"])
    if flags.attention:
        file, lines = write_attention(model, latents[:ATTENTION_IMAGES], labels[:ATTENTION_IMAGES], title, folder)
        said([file])
        print("\n".join(lines))


def write_ways(
    flags: argparse.Namespace, model: Model, latents: np.ndarray, classes: np.ndarray, title: str, folder: epath.Path
) -> list[epath.Path]:
    """The interpolation that the flags ask for."""
    names = model.card.class_names if model.card.num_classes else ("",)
    if flags.interpolate == "latents":
        classes = classes[:ROWS]
        frames = between_latents(model, latents, classes, flags.frames)
        rows = [names[label] for label in classes]
    elif len(classes) < 2:
        raise InputError(f"--interpolate=classes needs two classes, not {len(classes)}: name them with --classes.")
    else:
        chosen = classes if flags.classes else classes[np.linspace(0, len(classes) - 1, WAYPOINTS).astype(int)]
        frames = between_classes(model, latents[:ROWS], chosen, flags.frames)
        rows = [""] * len(frames)
        title += f" · classes {', '.join(names[label] for label in chosen)}"
    return write_interpolation(frames, rows, title, folder, flags.animation)


def said(files: list) -> None:
    """Prints where things are."""
    for file in files:
        print(f"  {file}")


def _count(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if not 1 <= value <= MOST:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to {MOST:,}")
    return value


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number greater than 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
