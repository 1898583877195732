"""Makes one shard in a worker process: read, decode, resize, write, hash."""

import collections
import contextlib
import dataclasses
import hashlib
import io
import json
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath
from PIL import Image

from sagan_jax.data.color import Converted, to_srgb
from sagan_jax.data.encoded import EncodedImages, reason
from sagan_jax.data.manifest import Shard
from sagan_jax.data.remarks import count_conversions
from sagan_jax.data.resize import square_pixels
from sagan_jax.errors import InputError
from sagan_jax.preparation.plan import Plan
from sagan_jax.runtime.documents import read_document
from sagan_jax.runtime.storage import is_remote, partial_path, publish, sha256_of, write_atomic

# Groups of one image, so that reading one reads no other. Pixels hardly compress.
WRITER_OPTIONS = "group_size:1,uncompressed"


@dataclasses.dataclass(frozen=True)
class Job:
    """The inputs and counters that all workers share.

    Attributes:
      listing: file with the pickled `EncodedImages`; a file is faster than the pipe to each worker.
      plan: of the data set.
      out: folder of the data set.
      max_skipped: number of unreadable files to skip before failing; -1: fail at the first.
      scratch: folder on this machine for shards to be uploaded to a bucket.
      done, skipped: images written and skipped by all workers, `multiprocessing.Value`.
      stop: not 0 once all workers are to stop.
    """

    listing: str
    plan: Plan
    out: str
    max_skipped: int
    scratch: str
    done: Any
    skipped: Any
    stop: Any


@dataclasses.dataclass(frozen=True)
class ShardReport:
    """The report of a complete shard.

    Attributes:
      shard: its entry in the manifest.
      labels, names, digests: label, file and hash of the pixels of each image.
      skipped: (file, reason) of unreadable files.
      enlarged: number of images that were smaller than the resolution.
      conversions: see `count_conversions`.
    """

    shard: Shard
    labels: list[int]
    names: list[str]
    digests: list[str]
    skipped: list[tuple[str, str]]
    enlarged: int
    conversions: dict[str, int]


class Picture(NamedTuple):
    """A readable image: file, label, final pixels, whether it was enlarged, and how it was converted."""

    name: str
    label: int
    pixels: np.ndarray
    enlarged: bool
    converted: Converted


class WorkersStoppedError(Exception):
    """Another worker failed, or the user pressed Ctrl-C."""


_job: Job | None = None
_images: EncodedImages | None = None


def start_worker(job: Job) -> None:
    """Sets up a worker process, which ends with the process that started it."""
    global _job, _images
    _job, _images = job, pickle.loads(Path(job.listing).read_bytes())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process stops the workers
    warnings.simplefilter("ignore")  # those of Pillow do not name the file
    threading.Thread(target=_die_with_parent, daemon=True).start()


def write_shard(index: int) -> ShardReport:
    """Makes a shard and its report, in a worker process.

    Raises:
      InputError: a file is unreadable and may not be skipped, or the output cannot be written.
      WorkersStoppedError: another worker failed, or the user pressed Ctrl-C.
    """
    assert _job is not None
    out, plan = epath.Path(_job.out), _job.plan
    name = plan.shard_file(index)
    partial = partial_path(Path(_job.scratch if is_remote(out) else out, name))
    try:
        report = _write_records(_job, index, partial)
        with _writing_to(_job.out):
            publish(partial, out / name)
            write_atomic(out / plan.report_file(index), json.dumps(dataclasses.asdict(report)).encode())
        return report
    finally:
        partial.unlink(missing_ok=True)


def read_report(out: epath.Path, plan: Plan, index: int) -> ShardReport | None:
    """Reads the report of a complete shard; None if there is none, or if it skipped files, now perhaps readable."""
    try:
        report = read_document(out / plan.report_file(index), ShardReport, "prepare the shard again")
    except (FileNotFoundError, InputError):
        return None
    shard = report.shard
    file = out / shard.file
    # In a bucket an existing file is complete, and hashing it would download it.
    whole = file.exists() and (is_remote(out) or sha256_of(file) == shard.sha256)
    return report if whole and not report.skipped else None


def _write_records(job: Job, index: int, partial: Path) -> ShardReport:
    labels, names, digests, enlarged = [], [], [], 0
    conversions: collections.Counter[str] = collections.Counter()
    skipped: list[tuple[str, str]] = []
    with _writing_to(job.out):
        partial.touch()  # the error of Python, unlike that of ArrayRecord, names the reason
        writer = ArrayRecordWriter(os.fspath(partial), WRITER_OPTIONS)
    for picture in _decoded(job, index, skipped):
        record = picture.pixels.tobytes()
        with _writing_to(job.out):
            writer.write(record)
        digests.append(hashlib.sha256(record).hexdigest()[:32])
        labels.append(picture.label)
        names.append(picture.name)
        enlarged += picture.enlarged
        conversions += count_conversions([picture.converted])
        with job.done:
            job.done.value += 1
    with _writing_to(job.out):
        writer.close()
    shard = Shard(job.plan.shard_file(index), len(labels), sha256_of(partial))
    return ShardReport(shard, labels, names, digests, skipped, enlarged, dict(conversions))


def _decoded(job: Job, index: int, skipped: list[tuple[str, str]]) -> Iterator[Picture]:
    """Yields a shard's readable images; adds the others to `skipped`."""
    plan = job.plan
    assert _images is not None
    for file in _images.shard(index, plan.num_shards):
        if job.stop.value:
            raise WorkersStoppedError
        if not 0 <= file.label < len(plan.class_names):
            raise InputError(f"{file.name} has the label {file.label}, but there are {len(plan.class_names)} classes.")
        try:
            with Image.open(io.BytesIO(file.read())) as image:
                small = min(image.size) < plan.resolution
                converted = to_srgb(image)
                pixels = square_pixels(converted.image, plan.resolution, plan.crop, plan.filter)
        except Exception as error:  # see `open_image`
            skipped.append((file.name, reason(error)))
            _count_skip(job, *skipped[-1])
            continue
        yield Picture(file.name, file.label, pixels, small, converted)


def _count_skip(job: Job, name: str, why: str) -> None:
    """Counts a skipped file. Raises InputError if no more may be skipped."""
    if job.max_skipped < 0:
        raise InputError(f"{name} is not a readable image ({why}): mend or delete it, or give --on-error=skip.")
    with job.skipped:
        job.skipped.value += 1
        count = job.skipped.value
    if count > job.max_skipped:
        raise InputError(
            f"{count} of {job.plan.num_images} files are not readable images, the last of them {name} ({why}):"
            " mend them, or allow more with --max-skipped=FRACTION."
        )


@contextlib.contextmanager
def _writing_to(out: str) -> Iterator[None]:
    """Turns errors in writing, such as those of a full disk, into InputError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        remedy = "what is finished is kept; run the same command again when there is space"
        raise InputError(f"cannot be written to ({error})", field="--out", value=out, remedy=remedy) from error


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
