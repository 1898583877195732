"""A prepared data set from any images: shards in parallel, then the manifest that makes them count."""

import concurrent.futures
import concurrent.futures.process
import contextlib
import dataclasses
import hashlib
import io
import multiprocessing
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tqdm
from etils import epath

from sagan_jax.data.encoded import EncodedImages
from sagan_jax.data.files import ImageFiles
from sagan_jax.data.manifest import LABELS, UNFINISHED, Manifest, read_manifest
from sagan_jax.errors import InputError
from sagan_jax.preparation.plan import Plan, claim, make_plan
from sagan_jax.preparation.shard import Job, ShardReport, read_report, start_worker, write_shard
from sagan_jax.runtime.storage import in_bytes, is_remote, remove_partial, require_space, write_whole

SPAWN = multiprocessing.get_context("spawn")  # forked workers would inherit threads
SECONDS_PER_LINE = 10  # between reports of progress that goes into a file


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command line says.

    Attributes:
      sources: folders, zips, or one "tfds:NAME".
      out: folder for the data set.
      resolution, crop, filter: see `resize.square_rgb`.
      split, data_dir: of TFDS data.
      max_skipped: largest fraction of broken files to leave out, or None to stop at the first.
      workers: processes.
    """

    sources: tuple[str, ...]
    out: str
    resolution: int
    crop: str
    filter: str
    split: str
    data_dir: str
    max_skipped: float | None
    workers: int


def prepare_images(settings: Settings) -> Manifest:
    """Makes the data set, or what is missing of it.

    Raises:
      InputError: see the message; finished shards are kept for the next attempt.
    """
    images = open_images(settings)
    plan = make_plan(images, settings.resolution, settings.crop, settings.filter)
    out = epath.Path(settings.out).expanduser()
    print(f"source      {plan.source}: {plan.num_images:,} images, {len(plan.class_names)} classes")
    if ignored := getattr(images, "ignored", 0):
        print(f"ignored     {ignored:,} files that are no images")
    print(
        f"output      {out}: {plan.resolution} px, {plan.crop} crop, {plan.filter} filter,"
        f" {plan.num_shards} shards, {in_bytes(plan.disk_bytes)}",
        flush=True,
    )
    if claim(out, plan):
        print("prepared    already; nothing to do")
        clean(out, plan)
        return read_manifest(out)
    remove_partial(out)
    reports = {index: read_report(out, plan, index) for index in range(plan.num_shards)}
    missing = [index for index, report in reports.items() if report is None]
    if not is_remote(out):
        require_space(Path(out), plan.disk_bytes * len(missing) // plan.num_shards, "--out")
    whole = [report for report in reports.values() if report is not None]
    job = make_job(images, plan, out, settings.max_skipped, whole)
    write_shards(job, missing, settings.workers)
    return finish(out, plan)


def open_images(settings: Settings) -> EncodedImages:
    """The images that the sources name. Raises InputError where they cannot be listed."""
    tfds_names = [source.removeprefix("tfds:") for source in settings.sources if source.startswith("tfds:")]
    if not tfds_names:
        try:
            return ImageFiles([source.removeprefix("folder:") for source in settings.sources])
        except InputError as error:
            raise InputError(f"--source: {error}") from error
    if len(settings.sources) > 1:
        raise InputError(f"--source=tfds:{tfds_names[0]} cannot be merged with other sources: give it alone.")
    from sagan_jax.data.tfds_source import TfdsImages

    return TfdsImages(tfds_names[0], settings.split, settings.data_dir)


def make_job(
    images: EncodedImages, plan: Plan, out: epath.Path, max_skipped: float | None, whole: list[ShardReport]
) -> Job:
    """What all workers know, with counters that start at what is there already."""
    return Job(
        images,
        plan,
        str(out),
        max_skipped=-1 if max_skipped is None else int(max_skipped * plan.num_images),
        done=SPAWN.Value("q", sum(report.shard.images for report in whole)),
        skipped=SPAWN.Value("q", sum(len(report.skipped) for report in whole)),
        stop=SPAWN.Value("b", 0, lock=False),
    )


def write_shards(job: Job, missing: list[int], workers: int) -> None:
    """Makes the missing shards in worker processes and shows progress.

    Raises:
      InputError: from the first worker that fails, or because one was killed.
    """
    pool = concurrent.futures.ProcessPoolExecutor(workers, SPAWN, start_worker, (job,))
    with pool, _Progress(job.plan.num_images, job.done.value) as progress:
        with _ctrl_c_later():
            tasks = {pool.submit(write_shard, index) for index in missing}
        try:
            while tasks:
                finished, tasks = concurrent.futures.wait(tasks, 0.3, concurrent.futures.FIRST_COMPLETED)
                progress.show(job.done.value + job.skipped.value)
                for task in finished:
                    task.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise InputError(
                "a worker process was killed, perhaps for lack of memory: run the same command again, if need be with"
                " fewer --workers."
            ) from error
        finally:
            job.stop.value = 1
            pool.shutdown(cancel_futures=True)


def finish(out: epath.Path, plan: Plan) -> Manifest:
    """Joins the reports of all shards into labels and manifest; from then on the data set is whole."""
    reports = []
    for index in range(plan.num_shards):
        report = read_report(out, plan, index)
        if report is None:
            raise InputError(f"{out / plan.shard_file(index)} was changed meanwhile: run the same command again.")
        reports.append(report)
    labels = np.asarray([label for report in reports for label in report.labels], np.int32)
    counts = np.bincount(labels, minlength=len(plan.class_names))
    buffer = io.BytesIO()
    np.save(buffer, labels)
    write_whole(out / LABELS, buffer.getvalue())
    manifest = Manifest(
        class_names=plan.class_names,
        class_counts=tuple(int(count) for count in counts),
        resolution=plan.resolution,
        crop=plan.crop,
        filter=plan.filter,
        source=plan.source,
        pillow=plan.pillow,
        shards=tuple(report.shard for report in reports),
        labels_sha256=hashlib.sha256(buffer.getvalue()).hexdigest(),
        skipped=tuple(pair for report in reports for pair in report.skipped),
        enlarged=sum(report.enlarged for report in reports),
        shared_images=tuple(shared_images(plan.class_names, reports)),
    )
    manifest.write(out)
    clean(out, plan)
    return manifest


def shared_images(class_names: tuple[str, ...], reports: list[ShardReport]) -> list[str]:
    """Sentences on pairs of classes that have the same images, the largest first: one of them must be wrong."""
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
        sentences.append(f"{classes} have {len(files):,} images in common, such as {files[0][0]} = {files[0][1]}")
    return sentences


def clean(out: epath.Path, plan: Plan) -> None:
    """Removes what is only needed until a data set is whole."""
    for name in (UNFINISHED, *(plan.report_file(index) for index in range(plan.num_shards))):
        (out / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Holds Ctrl-C back: a worker whose start it interrupts would belong to nobody."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class _Progress:
    """A bar with speed and remaining time on a terminal; elsewhere a line now and then."""

    def __init__(self, total: int, done: int):
        people = sys.stderr.isatty()
        options = {} if people else {"mininterval": SECONDS_PER_LINE, "file": _Lines(), "ncols": 0}
        self._bar = tqdm.tqdm(total=total, initial=done, desc="preparing", unit=" images", smoothing=0.1, **options)

    def show(self, done: int) -> None:
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


class _Lines:
    """Standard error for a bar that is not to overwrite itself."""

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            print(line, file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()
