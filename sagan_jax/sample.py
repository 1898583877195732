"""Makes images with a trained model: single files, a sheet, an archive, interpolations, attention.

python -m sagan_jax.sample --workdir=RUN | --model=DIR [--num=64] [--classes=NAME,NAME] [--seed=0] [--truncation=T]
    [--out=DIR] [--npz=FILE] [--attention] [--interpolate=latents|classes]

Needs neither the data set nor the training's config. Image number i of a seed is the same whatever else is asked for.
"""

import argparse
import math

import numpy as np
from etils import epath

from sagan_jax.cli import positive_number, program_parser, run_on_devices, start, whole_number
from sagan_jax.errors import InputError, os_errors_as_input_errors
from sagan_jax.model_flags import add_model_flags, open_named_model
from sagan_jax.runtime.pictures import encoded_png
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.storage import format_bytes, write_atomic
from sagan_jax.runtime.user_paths import user_path
from sagan_jax.sampling.interpolation import interpolate_classes, interpolate_latents
from sagan_jax.sampling.model import Model
from sagan_jax.sampling.output import (
    draw_sheet,
    next_folder,
    write_archive,
    write_attention,
    write_images,
    write_interpolation,
)
from sagan_jax.sampling.sampler import Latents

OUT = "samples"  # holds a folder per call
COUNT = whole_number(1, 10_000_000)  # of images
WAYPOINTS = 4  # of an interpolation, where nothing else is asked for
ROWS = 9  # of an interpolation, at most
ATTENTION_IMAGES = 4
MOST_FRAME_BYTES = 2 << 30  # of an interpolation, which is made in memory


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Returns the flags; exits with status 2 and one sentence where they are wrong."""
    parser = program_parser("sample", __doc__)
    add_model_flags(parser)
    parser.add_argument(
        "--num", type=COUNT, metavar="N", help="images, of the classes in turn (64), or latents to interpolate (4)"
    )
    parser.add_argument(
        "--classes", action="append", default=[], metavar="NAME,...", help="by name or number; may be repeated (all)"
    )
    parser.add_argument("--seed", type=whole_number(0, 2**32 - 1), default=0, help="(0)")
    parser.add_argument(
        "--truncation", type=positive_number, default=math.inf, help="draw larger latents again (no limit)"
    )
    parser.add_argument("--out", metavar="DIR", help=f"folder for what is made (a new one in {OUT}/)")
    parser.add_argument("--npz", metavar="FILE", help="all images and labels in one file, in place of single ones")
    parser.add_argument("--attention", action="store_true", help="draw where the first images attend, with numbers")
    parser.add_argument(
        "--interpolate",
        choices=("latents", "classes"),
        help="from each image to the next, or each class to the next: a sheet and an animation in place of single ones",
    )
    parser.add_argument(
        "--frames", type=whole_number(1, 10_000), default=24, metavar="N", help="per way of an interpolation (24)"
    )
    parser.add_argument("--animation", choices=("webp", "gif"), default="webp", help="its file format (webp)")
    flags = parser.parse_args(arguments)
    if flags.npz and not flags.npz.endswith(".npz"):
        parser.error(f"--npz={flags.npz} must end with .npz")
    if flags.npz and flags.interpolate:
        parser.error("--npz and --interpolate exclude each other: an interpolation is a sheet and an animation")
    return flags


def main(arguments: list[str] | None = None) -> int:
    """Makes images; returns the exit status."""
    flags = parse_arguments(arguments)
    return run_on_devices(lambda: sample(flags))


@os_errors_as_input_errors()
def sample(flags: argparse.Namespace) -> None:
    """Makes what the flags ask for, and prints where it is."""
    model = open_named_model(flags, make_mesh(), with_discriminator=flags.attention)
    card = model.card
    classes = card.labels(flags.classes)
    number = flags.num or (WAYPOINTS if flags.interpolate else 64)
    latents, labels = model.requests(flags.classes, number, flags.seed, flags.truncation)
    folder = user_path(flags.out) if flags.out else next_folder(epath.Path(OUT))
    if flags.attention or not flags.npz:
        folder.mkdir(parents=True, exist_ok=True)
    title = f"{card.name}" + ("" if card.step is None else f" · step {card.step:,}") + f" · seed {flags.seed}"
    print(f"{title} · {card.resolution} px · {len(classes):,} of {max(1, card.num_classes):,} classes")
    if flags.interpolate:
        check_frames(flags, number, len(classes), model.resolution)
        print_paths(interpolate(flags, model, latents, classes, title, folder))
    elif flags.npz:
        write_archive(model, latents, labels, user_path(flags.npz))
        print_paths([flags.npz])
    else:
        first = write_images(model, latents, labels, folder / "images")
        write_atomic(folder / "sheet.png", encoded_png(draw_sheet(model, latents, labels, title)))
        print_paths([first, *([f"... {number:,} files"] if number > 1 else []), folder / "sheet.png"])
    if flags.attention:
        shown = min(number, ATTENTION_IMAGES)
        images, attention = model.attention(
            classes=flags.classes, num=shown, seed=flags.seed, truncation=flags.truncation
        )
        file, lines = write_attention(images, attention, title, folder)
        print_paths([file])
        print("\n".join(lines))


def check_frames(flags: argparse.Namespace, latents: int, classes: int, resolution: int) -> None:
    """Raises InputError where an interpolation has more frames than fit into memory."""
    ways = latents if flags.interpolate == "latents" else (classes if flags.classes else WAYPOINTS)
    rows = min(ROWS, classes if flags.interpolate == "latents" else latents)
    size = rows * ways * flags.frames * resolution**2 * 3
    if size > MOST_FRAME_BYTES:
        wrong = f"makes {rows * ways * flags.frames:,} frames, {format_bytes(size)}"
        remedy = f"at most {format_bytes(MOST_FRAME_BYTES)}: ask for fewer --num, --classes or --frames"
        raise InputError(wrong, field="--interpolate", value=flags.interpolate, remedy=remedy)


def interpolate(
    flags: argparse.Namespace, model: Model, latents: Latents, classes: np.ndarray, title: str, folder: epath.Path
) -> list[epath.Path]:
    """Writes the interpolation that the flags ask for; returns its files."""
    names = model.class_names or ("",)
    if flags.interpolate == "latents":
        classes = classes[:ROWS]
        frames = interpolate_latents(model, latents[:], classes, flags.frames)
        rows, waypoints = [names[label] for label in classes], _numbered_latents(len(latents))
    elif len(classes) < 2:
        wrong = f"needs two classes, not {len(classes)}"
        raise InputError(wrong, field="--interpolate", value="classes", remedy="name them with --classes")
    else:
        chosen = classes if flags.classes else classes[np.linspace(0, len(classes) - 1, WAYPOINTS).astype(int)]
        frames = interpolate_classes(model, latents[:ROWS], chosen, flags.frames)
        rows, waypoints = _numbered_latents(len(frames)), [names[label] for label in chosen]
    return write_interpolation(frames, rows, waypoints, title, folder, flags.animation)


def _numbered_latents(count: int) -> list[str]:
    return [f"latent {number + 1}" for number in range(count)]


def print_paths(files: list) -> None:
    """Prints where files are, one a line."""
    for file in files:
        print(f"  {file}")


if __name__ == "__main__":
    start(main)
