"""Makes a data set for training of any images, or inspects one.

python -m sagan_jax.prepare --source=IMAGES --out=DIR --resolution=128
python -m sagan_jax.prepare --inspect=DIR
"""

import argparse
import os

from etils import epath

from sagan_jax.cli import program_parser, run, start, whole_number
from sagan_jax.data.manifest import read_manifest
from sagan_jax.data.resize import CROPS, FILTERS
from sagan_jax.errors import os_errors_as_input_errors
from sagan_jax.preparation.build import Settings, prepare_images
from sagan_jax.preparation.inspection import describe, save_overview, verify
from sagan_jax.runtime.storage import is_remote
from sagan_jax.runtime.user_paths import user_path

RESOLUTIONS = (16, 32, 64, 128, 256, 512)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Returns the flags; exits with status 2 and one sentence where they are wrong."""
    parser = program_parser("prepare", __doc__)
    add = parser.add_argument
    add("--source", action="append", metavar="IMAGES", help="folder or zip with a subfolder per class, with StyleGAN's"
        " dataset.json, or with images only; cifar-10-python.tar.gz; or tfds:NAME. May be repeated, or have a * in its"
        " name")  # fmt: skip
    add("--out", metavar="DIR", help="new folder for the data set, here or gs://")
    add("--resolution", type=int, choices=RESOLUTIONS, metavar="N", help="side of the images: 16, 32, ..., 512")
    add(
        "--crop",
        choices=CROPS,
        default=CROPS[0],
        help="centre square, or the whole image squeezed; default %(default)s",
    )
    add("--filter", choices=tuple(FILTERS), default="lanczos", help="antialiased resize; default %(default)s")
    add("--split", default="train", help="of a TFDS data set; default %(default)s")
    add("--data-dir", default="", metavar="DIR", help="where TFDS data lies; default $TFDS_DATA_DIR")
    add("--image-key", default="image", metavar="FIELD", help="of TFDS records with the image; default %(default)s")
    add(
        "--label-key",
        default="label",
        metavar="FIELD",
        help="of TFDS records with the class, or ''; default %(default)s",
    )
    add("--on-error", choices=("stop", "skip"), default="stop", help="at a broken file; default %(default)s")
    add(
        "--max-skipped",
        type=_fraction,
        default=0.01,
        metavar="F",
        help="most broken files to skip, as a fraction; default %(default)s; one may be, unless it is 0",
    )
    add(
        "--workers",
        type=whole_number(1, 4096),
        default=os.cpu_count(),
        metavar="N",
        help="processes; default all %(default)s cores",
    )
    add("--inspect", metavar="DIR", help="verify a prepared data set, show its classes, renew its contact sheet")
    parsed = parser.parse_args(arguments)
    if parsed.inspect is None:
        missing = [f"--{name}" for name in ("source", "out", "resolution") if getattr(parsed, name) is None]
        if missing:
            parser.error(
                f"{', '.join(missing)} missing: give --source=IMAGES --out=DIR --resolution=N, or --inspect=DIR"
            )
    elif parsed.source or parsed.out:
        parser.error("--inspect goes without --source and --out")
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """Prepares or inspects; returns the exit status."""
    flags = parse_arguments(arguments)
    return run(lambda: inspect(flags.inspect) if flags.inspect is not None else prepare(flags))


@os_errors_as_input_errors()
def prepare(flags: argparse.Namespace) -> None:
    """Makes the data set and shows what is in it."""
    max_skipped = flags.max_skipped if flags.on_error == "skip" else None
    manifest = prepare_images(
        Settings(
            tuple(flags.source),
            flags.out,
            flags.resolution,
            flags.crop,
            flags.filter,
            flags.split,
            flags.data_dir,
            flags.image_key,
            flags.label_key,
            max_skipped,
            flags.workers,
        )
    )
    out = user_path(flags.out)
    print()
    describe(out, manifest)
    if is_remote(out):
        print(f"for a contact sheet: python -m sagan_jax.prepare --inspect={out} (reads the data set back)")
    else:
        show_sheets(save_overview(out, manifest))
    print(f"train with: --config.data.source=prepared:{flags.out} --config.data.resolution={flags.resolution}")


@os_errors_as_input_errors()
def inspect(path: str) -> None:
    """Verifies the data set and shows what is in it."""
    folder = user_path(path)
    manifest = read_manifest(folder)
    verify(folder, manifest)
    describe(folder, manifest)
    print("every file has the SHA-256 of dataset.json")
    show_sheets(save_overview(folder, manifest))


def show_sheets(paths: list[epath.Path]) -> None:
    """Prints where the contact sheets are."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    print(f"look at {paths[0]}{more}: do images and names belong together?")


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a fraction from 0 to 1")
    return value


if __name__ == "__main__":
    start(main)
