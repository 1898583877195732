"""Makes a portable model of a run or of other programs' weights: weights, a card, and a program that needs only JAX.

python -m sagan_jax.export --workdir=RUN [--checkpoint=best] --out=DIR
python -m sagan_jax.export --import-from=FILE --layout=NAME [--class-names=FILE] --out=DIR

    [--discriminator-from=FILE] [--inplace-relu] [--channel-order=rgb|bgr] [--final-resolution=N]

docs/models.md explains the folder, the card and the layouts.
"""

import argparse

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from sagan_jax.cli import program_parser, run_on_devices, start
from sagan_jax.errors import FailedError, InputError, os_errors_as_input_errors
from sagan_jax.layouts.imported import import_model, joined_prefix
from sagan_jax.layouts.names import LAYOUTS
from sagan_jax.loading import CALL_SIZE
from sagan_jax.model_flags import add_model_flags, open_named_model
from sagan_jax.portable.folder import CARD, PRECISIONS, PROGRAM, load_model, save_model
from sagan_jax.portable.program import run_program
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.user_paths import local_path, user_path
from sagan_jax.sampling.model import Model
from sagan_jax.weights.files import read_weights

TOLERANCE = {"float32": 1e-4, "float16": 0.1}  # between the images of what was written, in [-1, 1], and of the model
CHECKED = 4  # images
FINAL_RESOLUTIONS = (4, 8, 16, 32, 64, 128, 256)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Returns the flags; exits with status 2 and one sentence where they are wrong."""
    parser = program_parser("export", __doc__)
    source = add_model_flags(parser)
    source.add_argument("--import-from", metavar="FILE", help="weights of another program; goes with --layout")
    parser.add_argument("--layout", metavar="NAME", help=f"which program: {', '.join(LAYOUTS)}")
    parser.add_argument("--discriminator-from", metavar="FILE", help="of an import, where it has a file of its own")
    parser.add_argument("--class-names", metavar="FILE", help="of an import: a name per line, in the order of labels")
    parser.add_argument(
        "--inplace-relu",
        action="store_true",
        help="of an import: its discriminator activates in place, so that shortcuts see ReLU(x) (as the layout has it)",
    )
    parser.add_argument(
        "--channel-order", choices=("rgb", "bgr"), help="of an import: the order of its colours (as the layout has it)"
    )
    parser.add_argument(
        "--final-resolution",
        type=int,
        choices=FINAL_RESOLUTIONS,
        metavar="N",
        help="of an import: side of its discriminator's last feature map (as the weights say, or 4)",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the portable model")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS, help="of the weights' files (float32)")
    parser.add_argument("--no-program", action="store_true", help=f"leave {PROGRAM} out, which holds all weights again")
    flags = parser.parse_args(arguments)
    if flags.workdir is None and flags.model is None and flags.import_from is None:
        parser.error("name what to export: --workdir=RUN, --model=DIR or --import-from=FILE")
    if bool(flags.import_from) != bool(flags.layout):
        parser.error("--import-from and --layout go together: name the file and the program that wrote it")
    of_imports = ("class_names", "discriminator_from", "inplace_relu", "channel_order", "final_resolution")
    given = [f"--{name.replace('_', '-')}" for name in of_imports if getattr(flags, name)]
    if given and not flags.import_from:
        parser.error(f"{' and '.join(given)} can only be used with --import-from: a run or a model knows its own")
    if flags.checkpoint and flags.import_from:
        parser.error(f"--checkpoint={flags.checkpoint} goes with --workdir: name the file to import alone")
    return flags


def main(arguments: list[str] | None = None) -> int:
    """Exports; returns the exit status."""
    flags = parse_arguments(arguments)
    return run_on_devices(lambda: export(flags))


@os_errors_as_input_errors()
def export(flags: argparse.Namespace) -> None:
    """Writes the folder, reads it again, and compares."""
    mesh, folder = make_mesh(), user_path(flags.out)
    model = imported(flags, mesh) if flags.import_from else open_named_model(flags, mesh, with_discriminator=True)
    save_model(folder, model, flags.precision, with_program=not flags.no_program)
    written = load_model(flags.out, mesh, CALL_SIZE * mesh.devices.size, with_discriminator=True)
    difference = largest_difference(model, written, folder, with_program=not flags.no_program)
    if not difference <= TOLERANCE[flags.precision]:
        (folder / CARD).unlink()
        raise FailedError(
            f"what was written to {folder} makes other images, by up to {difference:.2g} of a range of 2: its card was"
            " removed again, so that nobody uses it."
        )
    for file in sorted(folder.iterdir()):
        print(f"  {file}  {file.stat().length / 1e6:,.1f} MB")
    print(f"read again: images differ by at most {difference:.1g} of a range of 2")
    print(f"try it: python -m sagan_jax.sample --model={flags.out}")


def imported(flags: argparse.Namespace, mesh: Mesh) -> Model:
    """Returns the model in another program's files."""
    file = local_path(flags.import_from)
    arrays = read_weights(file)
    if flags.discriminator_from:
        prefix = joined_prefix(flags.layout)
        arrays.add(read_weights(local_path(flags.discriminator_from)), prefix)
    card, variables, discriminator_variables, notes = import_model(
        arrays,
        flags.layout,
        file.name,
        class_names(flags.class_names) if flags.class_names else (),
        inplace_relu=flags.inplace_relu,
        channel_order=flags.channel_order,
        final_resolution=flags.final_resolution,
    )
    for note in notes:
        print(f"note: {note}")
    return Model.from_card(card, mesh, CALL_SIZE * mesh.devices.size, variables, discriminator_variables)


def class_names(file: str) -> tuple[str, ...]:
    """Returns the lines of a text file. Raises InputError if it is no text."""
    try:
        return tuple(local_path(file).read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        wrong, remedy = f"is no UTF-8 text ({error})", "save it as UTF-8, a name per line"
        raise InputError(wrong, field="--class-names", value=file, remedy=remedy) from error


def largest_difference(model: Model, written: Model, folder: epath.Path, *, with_program: bool) -> float:
    """Returns it for the images of the model, of the weights as they were written, and of the program."""
    latents = model.sampler.fixed_latents(CHECKED, stream_key(0, "samples"))
    labels = np.arange(CHECKED, dtype=np.int32) % max(1, model.card.num_classes)
    generator = model.card.build_generator()
    expected, found = (
        jax.device_get(jax.jit(lambda v: generator.apply(v, latents, labels, train=False))(variables))
        for variables in (model.variables, written.variables)
    )
    differences = [np.abs(found - expected).max()]
    if with_program:
        differences.append(np.abs(run_program((folder / PROGRAM).read_bytes(), latents, labels) - expected).max())
    return float(max(differences))


if __name__ == "__main__":
    start(main)
