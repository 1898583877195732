"""Prepares a data set from any images: shards in parallel, then the manifest that completes them."""

import collections
import contextlib
import dataclasses
import hashlib
import io
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from etils import epath

from sagan_jax.data.encoded import EncodedImages
from sagan_jax.data.files import open_listing
from sagan_jax.data.manifest import LABELS, MANIFEST, UNFINISHED, Manifest, read_manifest
from sagan_jax.data.remarks import conversion_remarks
from sagan_jax.errors import InputError
from sagan_jax.preparation.plan import Plan, claim, make_plan
from sagan_jax.preparation.shard import ShardReport, read_report
from sagan_jax.preparation.workers import make_job, write_shards
from sagan_jax.runtime.storage import (
    existing_parent,
    format_bytes,
    is_remote,
    locked,
    remove_partial,
    require_space,
    write_atomic,
)
from sagan_jax.runtime.user_paths import user_path

FLAGS = {  # by the fields of the config that mean the same
    "data.source": "--source",
    "data.split": "--split",
    "data.image_key": "--image-key",
    "data.label_key": "--label-key",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of the command line.

    Attributes:
      sources: folders, zips, or one "tfds:NAME".
      out: folder for the data set.
      resolution, crop, filter: see `resize.square_rgb`.
      split, data_dir, image_key, label_key: of TFDS data.
      max_skipped: largest fraction of unreadable files to skip (see `allowed_skips`), or None to stop at the first.
      workers: number of processes.
    """

    sources: tuple[str, ...]
    out: str
    resolution: int
    crop: str
    filter: str
    split: str
    data_dir: str
    image_key: str
    label_key: str
    max_skipped: float | None
    workers: int


def prepare_images(settings: Settings) -> Manifest:
    """Makes the data set, or completes it after an interruption.

    Raises:
      InputError: the images or the output folder cannot be used. Finished shards stay, for the next attempt.
    """
    out = user_path(settings.out)
    for source in settings.sources:
        if not is_remote(out) and out.resolve().is_relative_to(user_path(source.removeprefix("folder:")).resolve()):
            wrong = f"lies in --source={source}"
            raise InputError(wrong, field="--out", value=settings.out, remedy="choose a folder beside it")
    images = open_images(settings)
    plan = make_plan(images, settings.resolution, settings.crop, settings.filter)
    print(f"source      {plan.source}: {plan.num_images:,} images, {len(plan.class_names)} classes")
    print(
        f"output      {out}: {plan.resolution} px, {plan.crop} crop, {plan.filter} filter,"
        f" {plan.num_shards} shards, {format_bytes(plan.disk_bytes)}",
        flush=True,
    )
    if not (is_remote(out) or (out / UNFINISHED).exists() or (out / MANIFEST).exists()):
        require_space(existing_parent(Path(out)), plan.disk_bytes, "--out")
    if claim(out, plan):
        print("prepared    already; nothing to do")
        clean(out, plan)
        return read_manifest(out)
    with locked(out, "--out") if not is_remote(out) else contextlib.nullcontext():
        return finish(out, plan, all_shards(images, plan, out, settings), images.remarks)


def all_shards(images: EncodedImages, plan: Plan, out: epath.Path, settings: Settings) -> list[ShardReport]:
    """Makes the shards that are missing; returns the reports of all in order."""
    remove_partial(out)
    reports = {index: read_report(out, plan, index) for index in range(plan.num_shards)}
    missing = [index for index, report in reports.items() if report is None]
    if not is_remote(out):
        require_space(Path(out), plan.disk_bytes * len(missing) // plan.num_shards, "--out")
    done = sum(report.shard.images for report in reports.values() if report is not None)
    with tempfile.TemporaryDirectory(prefix="sagan_jax-") as scratch:
        job = make_job(images, plan, out, settings.max_skipped, scratch, done)
        reports |= write_shards(job, missing, settings.workers)
    return [report for _, report in sorted(reports.items()) if report is not None]


def open_images(settings: Settings) -> EncodedImages:
    """Opens the images that the sources name. Raises InputError if they cannot be listed."""
    tfds_names = [source.removeprefix("tfds:") for source in settings.sources if source.startswith("tfds:")]
    if not tfds_names:
        try:
            return open_listing([source.removeprefix("folder:") for source in settings.sources])
        except InputError as error:
            raise InputError(f": {error}", field="--source") from error
    if len(settings.sources) > 1:
        wrong, source = "cannot be merged with other sources", f"tfds:{tfds_names[0]}"
        raise InputError(wrong, field="--source", value=source, remedy="give it alone")
    from sagan_jax.data.tfds_source import TfdsImages

    try:
        return TfdsImages(tfds_names[0], settings.split, settings.data_dir, settings.image_key, settings.label_key)
    except InputError as error:
        raise error.renamed(FLAGS.get(error.field, error.field)) from error


def finish(out: epath.Path, plan: Plan, reports: list[ShardReport], remarks: Iterable[str]) -> Manifest:
    """Completes the data set: joins the reports of all shards, and remarks on the listing, into labels and manifest."""
    labels = np.asarray([label for report in reports for label in report.labels], np.int32)
    if not len(labels):
        raise InputError(f"none of the {plan.num_images:,} files of {plan.source} is a readable image: mend them.")
    buffer = io.BytesIO()
    np.save(buffer, labels)
    write_atomic(out / LABELS, buffer.getvalue())
    digests = "".join(digest for report in reports for digest in report.digests)
    conversions = sum((collections.Counter(report.conversions) for report in reports), collections.Counter())
    manifest = Manifest(
        class_names=plan.class_names,
        class_counts=tuple(np.bincount(labels, minlength=len(plan.class_names)).tolist()),
        resolution=plan.resolution,
        crop=plan.crop,
        filter=plan.filter,
        source=plan.source,
        identity=plan.identity,
        pillow=plan.pillow,
        shards=tuple(report.shard for report in reports),
        pixels_sha256=hashlib.sha256(digests.encode()).hexdigest(),
        labels_sha256=hashlib.sha256(buffer.getvalue()).hexdigest(),
        skipped=tuple(pair for report in reports for pair in report.skipped),
        enlarged=sum(report.enlarged for report in reports),
        shared_images=tuple(shared_images(plan.class_names, reports)),
        notes=(*remarks, *conversion_remarks(conversions, f"of {len(labels):,} images, ")),
    )
    manifest.write(out)
    clean(out, plan)
    return manifest


def shared_images(class_names: tuple[str, ...], reports: list[ShardReport]) -> list[str]:
    """Returns sentences on pairs of classes that have images in common, whose labels must be wrong; most first."""
    first: dict[str, tuple[int, str]] = {}
    pairs: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for report in reports:
        for digest, label, name in zip(report.digests, report.labels, report.names, strict=True):
            other_label, other_name = first.setdefault(digest, (label, name))
            if other_label != label:
                pairs.setdefault((other_label, label), []).append((other_name, name))
    sentences = []
    for (one, other), files in sorted(pairs.items(), key=lambda item: -len(item[1])):
        classes = f"the classes {class_names[one]} and {class_names[other]}"
        sentences.append(f"{classes} have images in common: {len(files):,}, such as {files[0][0]} = {files[0][1]}")
    return sentences


def clean(out: epath.Path, plan: Plan) -> None:
    """Removes the files that are needed only until the data set is complete."""
    for name in (UNFINISHED, *(plan.report_file(index) for index in range(plan.num_shards))):
        (out / name).unlink(missing_ok=True)
