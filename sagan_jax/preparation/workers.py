"""Runs worker processes that make shards, and shows their progress."""

import concurrent.futures
import concurrent.futures.process
import contextlib
import multiprocessing
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from sagan_jax.data.encoded import EncodedImages
from sagan_jax.errors import InputError
from sagan_jax.preparation.plan import Plan
from sagan_jax.preparation.shard import Job, ShardReport, start_worker, write_shard
from sagan_jax.runtime.image_counter import ImageCounter

SPAWN = multiprocessing.get_context("spawn")  # forked workers would inherit threads


def make_job(
    images: EncodedImages, plan: Plan, out: epath.Path, max_skipped: float | None, scratch: str, done: int
) -> Job:
    """Makes the job of all workers; its counter of images starts at `done`, the images of existing shards."""
    listing = Path(scratch, "images.pickle")
    listing.write_bytes(pickle.dumps(images))
    return Job(
        str(listing),
        plan,
        str(out),
        max_skipped=-1 if max_skipped is None else allowed_skips(max_skipped, plan.num_images),
        scratch=scratch,
        done=SPAWN.Value("q", done),
        skipped=SPAWN.Value("q", 0),
        stop=SPAWN.Value("b", 0, lock=False),
    )


def allowed_skips(fraction: float, num_images: int) -> int:
    """Returns how many files may be unreadable: in a small data set one, however small the fraction is, unless 0."""
    return max(int(fraction * num_images + 1e-9), 1 if fraction else 0)  # 0.29 * 100 is 28.999...


def write_shards(job: Job, missing: list[int], workers: int) -> dict[int, ShardReport]:
    """Makes the missing shards in worker processes and shows progress; returns their reports.

    Raises:
      InputError: from the first worker that fails, or because one was killed.
    """
    pool = concurrent.futures.ProcessPoolExecutor(workers, SPAWN, start_worker, (job,))
    with pool, ImageCounter("preparing", job.plan.num_images, job.done.value) as progress:
        try:
            with _ctrl_c_held_back():
                tasks = {index: pool.submit(write_shard, index) for index in missing}
            waiting = set(tasks.values())
            while waiting:
                finished, waiting = concurrent.futures.wait(waiting, 0.3, concurrent.futures.FIRST_COMPLETED)
                # Read without locks, since a killed worker may never release them.
                progress.show(job.done.get_obj().value + job.skipped.get_obj().value)
                for task in finished:
                    task.result()
            return {index: task.result() for index, task in tasks.items()}
        except concurrent.futures.process.BrokenProcessPool as error:
            raise InputError(
                "a worker process was killed, perhaps for lack of memory: run the same command again, if need be with"
                " fewer --workers."
            ) from error
        finally:
            job.stop.value = 1
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Delays Ctrl-C, which would orphan a worker that is just being started."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
