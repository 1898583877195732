"""Scores a trained generator, or any images, against real ones.

python -m sagan_jax.evaluate --workdir=RUN [--checkpoint=newest|best|STEP] [--features=inception2015]
python -m sagan_jax.evaluate --fake=DIR|ZIP|NPZ --real=DATASET|DIR|ZIP|NPZ

Several processes share the work as in training; see sagan_jax/main.py for their flags.
"""

import argparse
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sagan_jax.cli import add_process_flags, positive_number, program_parser, run_on_devices, start, whole_number
from sagan_jax.config import default_config
from sagan_jax.data.remarks import print_remarks
from sagan_jax.data.source import ImageSource
from sagan_jax.errors import InputError, os_errors_as_input_errors
from sagan_jax.evaluation.comparison import (
    SHOWN_SAMPLES,
    Generated,
    Real,
    check_counts,
    compare,
    extractor_for,
    neighbour_sheet,
    real_images,
    samples_of,
)
from sagan_jax.evaluation.image_sets import open_real, open_samples
from sagan_jax.evaluation.record import read_evaluation, result_name
from sagan_jax.evaluation.reference import read_statistics
from sagan_jax.features.extractor import NAMES, Extractor, check_extractor
from sagan_jax.features.resizing import RESIZES
from sagan_jax.runtime.pictures import encoded_png
from sagan_jax.runtime.processes import is_host0, join_processes
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.storage import is_remote, sha256_of, write_atomic
from sagan_jax.runtime.user_paths import user_path
from sagan_jax.training.evaluation import evaluation_file, generated_images
from sagan_jax.training.trained import NEWEST, open_trained, run_config

COUNT = whole_number(2, 10_000_000)  # of images to compare


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Returns the flags; exits with status 2 and one sentence where they are wrong."""
    parser = program_parser("evaluate", __doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--workdir", metavar="RUN", help="folder of a run, whose generator is scored")
    what.add_argument("--fake", metavar="PATH", help="images of any tool: a folder, a zip or an .npz")
    parser.add_argument(
        "--real",
        metavar="DATA",
        help="prepared:DIR, folder:PATH, tfds:NAME or digits; the path of a"
        " folder, a zip or an .npz of images; or an .npz with mu and sigma. By default what the run"
        " was trained on",
    )
    parser.add_argument("--features", default="inception2015", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--weights", default="", metavar="FILE", help="of the network; .npz, .safetensors or .pth")
    parser.add_argument("--resize", default="legacy", choices=RESIZES, help="how Inception gets 299x299 (legacy)")
    parser.add_argument("--checkpoint", default=NEWEST, help="newest, best or a step, of the run (newest)")
    parser.add_argument("--samples", type=COUNT, default=50_000, metavar="N", help="to generate (50000)")
    parser.add_argument("--real-images", type=COUNT, metavar="N", help="random ones to use (all)")
    parser.add_argument("--seed", type=whole_number(0, 2**32 - 1), default=0, help="of the samples (0)")
    parser.add_argument(
        "--truncation", type=positive_number, default=math.inf, help="draw larger latents again (no limit)"
    )
    parser.add_argument("--split", help="of tfds data (that of the run, or train)")
    parser.add_argument("--data-dir", metavar="DIR", help="of tfds data")
    parser.add_argument(
        "--image-key", metavar="FIELD", help="of tfds records with the image (that of the run, or image)"
    )
    parser.add_argument(
        "--label-key", metavar="FIELD", help="of tfds records with the class (that of the run, or label)"
    )
    parser.add_argument(
        "--cache-dir", default="", metavar="DIR", help="for features of real images (~/.cache/sagan_jax)"
    )
    parser.add_argument(
        "--batch-size", type=whole_number(2, 1 << 17), default=64, metavar="N", help="images per call (64)"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="where the scores are written as JSON, and as .png the real images nearest to samples",
    )
    add_process_flags(parser)
    flags = parser.parse_args(arguments)
    if flags.fake is not None and not flags.real:
        parser.error("--fake goes with --real: name the real images to compare with")
    if flags.workdir == "" or flags.fake == "":
        parser.error("--workdir and --fake must not be empty")
    if flags.out and not flags.out.endswith(".json"):
        parser.error(f"--out={flags.out} must end with .json")
    return flags


def main(arguments: list[str] | None = None) -> int:
    """Evaluates; returns the exit status."""
    flags = parse_arguments(arguments)

    def program() -> None:
        join_processes(flags.coordinator, flags.processes, flags.process)
        evaluate(flags)

    return run_on_devices(program)


class Subject(NamedTuple):
    """What is scored.

    Attributes:
      data: `config.data`, with the resolution of the images and where data sets lie.
      generated: gives the images, once the real ones are known.
      result: file for the scores.
      real: name of the real images to compare with.
    """

    data: ConfigDict
    generated: Callable[[ImageSource | None], Generated]
    result: epath.Path
    real: str


@os_errors_as_input_errors()
def evaluate(flags: argparse.Namespace) -> None:
    """Compares what the flags name, prints the scores and writes them."""
    mesh = make_mesh()
    try:
        check_extractor(flags.features, flags.resize)
    except InputError as error:
        raise error.renamed(f"--{error.field}") from error
    if flags.batch_size % mesh.devices.size:
        wrong = f"is not divisible by the {mesh.devices.size} devices"
        raise InputError(wrong, field="--batch-size", value=flags.batch_size, remedy="give a multiple of their number")
    subject = run_subject(flags, mesh) if flags.workdir else samples_subject(flags)
    check_result(subject.result)
    extractor, generated, real = open_comparison(flags, subject, mesh)
    evaluation, fake = compare(extractor, real, generated, mesh)
    print("\n".join(evaluation.lines()))
    if is_host0():
        evaluation.save(subject.result)
    print(f"written to {subject.result}")
    images, _ = next(generated.batches())
    sheet = neighbour_sheet(real, fake, images[:SHOWN_SAMPLES], extractor.name)
    if sheet is not None and is_host0():
        picture = subject.result.with_suffix(".png")
        write_atomic(picture, encoded_png(sheet))
        print(f"look at {picture}: are samples copies of real images?")


def check_result(file: epath.Path) -> None:
    """Makes the folder of a result file. Raises InputError if it could not be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot be written ({error.strerror})"
        raise InputError(reason, field="--out", value=file, remedy="give another --out=FILE") from error
    if file.exists() and not file.is_dir():
        try:
            read_evaluation(file)
        except InputError as error:
            wrong = "is another file, which would be overwritten"
            raise InputError(wrong, field="--out", value=file, remedy="give a new --out=FILE.json") from error
    if file.is_dir() or not (is_remote(file) or os.access(file.parent, os.W_OK)):
        wrong = "is a folder or lies in one that cannot be written to"
        raise InputError(wrong, field="--out", value=file, remedy="give --out=FILE.json")


def run_subject(flags: argparse.Namespace, mesh: Mesh) -> Subject:
    """Returns the generator of a run as what is scored."""
    model = open_trained(flags.workdir, flags.checkpoint, mesh, flags.batch_size)
    workdir = user_path(flags.workdir)

    def generated(real: ImageSource | None) -> Generated:
        labelled = real is not None and real.class_names == model.card.class_names
        found = generated_images(
            model.sampler,
            model.variables,
            flags.samples,
            flags.seed,
            labelled=labelled and model.card.num_classes > 1,
            truncation=flags.truncation,
        )
        found.facts.update(run=flags.workdir, step=model.card.step)
        return found

    assert model.card.step is not None
    asked = [*compared_with(flags), flags.samples, flags.seed, flags.truncation]
    default = evaluation_file(workdir, model.card.step, flags.features, asked)
    result = user_path(flags.out) if flags.out else default
    data = run_config(model.card).data
    return Subject(data, generated, result, flags.real or data.source)


def samples_subject(flags: argparse.Namespace) -> Subject:
    """Returns the images that any tool has made as what is scored."""
    samples = open_samples(flags.fake)
    print_remarks(samples)
    data = default_config().data
    data.resolution = samples.load(np.zeros(1, int))[0].shape[1]
    name = result_name(flags.features, compared_with(flags))
    default = epath.Path(f"{user_path(flags.fake).absolute()}-{name}")
    result = user_path(flags.out) if flags.out else default
    return Subject(data, lambda real: samples_of(samples, real, flags.batch_size), result, flags.real)


def compared_with(flags: argparse.Namespace) -> list[Any]:
    """Returns the flags that name what the images are compared with, and how."""
    keys = [key for key in (flags.image_key, flags.label_key) if key is not None]
    return [flags.real, flags.split, flags.data_dir, flags.real_images, flags.weights, flags.resize, *keys]


def open_comparison(flags: argparse.Namespace, subject: Subject, mesh: Mesh) -> tuple[Extractor, Generated, Real]:
    """Returns the feature network, the generated images, and the real ones with their features."""
    for field in ("split", "data_dir", "image_key", "label_key"):
        flag, value = f"--{field.replace('_', '-')}", getattr(flags, field)
        if value is None:
            continue
        if not subject.real.startswith("tfds:"):
            wrong = f"is for tfds: data, not for {subject.real}"
            raise InputError(wrong, field=flag, value=value, remedy="leave it out")
        subject.data[field] = value
    path = user_path(subject.real)
    statistics = read_statistics(path) if path.suffix == ".npz" else None
    source = None if statistics else open_real(subject.data, subject.real)
    generated = subject.generated(source)
    check_counts(source, generated)
    extractor = extractor_for(flags.features, flags.weights, flags.resize, source)
    if statistics:
        return extractor, generated, Real(None, statistics, {"statistics": subject.real, "sha256": sha256_of(path)})
    assert source is not None
    print_remarks(source)
    real = real_images(extractor, source, flags.real_images, flags.batch_size, flags.cache_dir, mesh)
    return extractor, generated, real


if __name__ == "__main__":
    start(main)
