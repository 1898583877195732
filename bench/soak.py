"""Kills a run again and again at random moments, and compares what comes out with a run that was left alone.

PYTHONPATH=. python bench/soak.py [--kills=30] [--processes=2] [--steps=1500] [--seed=0] [--folder=DIR]
    [--out=bench/results/soak_cpu.json]

The run is a tiny one of the digits, as real processes. Each life of it ends by one of: SIGKILL to all processes,
SIGTERM to one, SIGKILL to one. That comes while it starts (up to ten seconds after its begin), while it saves (as soon
as a checkpoint begins to be written), while it draws (as soon as there are metrics that pictures follow), or after up
to 100 steps. After the last kill it is left to finish. Weights, both optimisers, moving average, metrics and pictures
must then be those of the undisturbed run, bit for bit.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from experiment import ROOT, changed_config

from sagan_jax.errors import RUN_AGAIN
from sagan_jax.runtime.checkpoint_reading import SavedCheckpoints
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.workdir import ATTENTION, CHECKPOINTS, METRICS_FILE, SAMPLES, image_file, read_metrics
from sagan_jax.training.creation import abstract_state
from sagan_jax.training.step_config import build_step_config

CHANGES = (
    "model.latent_size=8",
    "model.generator.channels=2",
    "model.discriminator.channels=2",
    "train.batch_size=16",
    "train.ema_start_step=2",
    "sampling.batch_size=16",
    "sampling.standing_batches=2",
    "log.every_steps=5",
    "log.pictures_every_steps=50",
    "checkpoint.every_steps=10",
    "faults.join_seconds=30",
    "eval.features=",
)
DRAWN_EVERY = 50  # steps, as above
MOMENTS = ("starting", "saving", "drawing", "stepping")
WAYS = ("SIGKILL to all", "SIGTERM to one", "SIGKILL to one")
TIMINGS = {"steps_per_s", "images_per_s", "data_wait"}
LIMIT = 3600  # seconds that a life may take to end by itself


def main() -> None:
    """Prints a line per kill and the result; exits with 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--folder", type=Path, help="for the two runs; by default a temporary one")
    parser.add_argument("--out", type=Path)
    flags = parser.parse_args()
    folder = flags.folder or Path(tempfile.mkdtemp())
    start = time.perf_counter()
    left_alone, killed = folder / "left_alone", folder / "killed"
    statuses = wait(live(left_alone, flags.steps, flags.processes))
    assert statuses == [0] * flags.processes, statuses

    chance, lives = random.Random(flags.seed), []
    for number in range(flags.kills):
        lives.append(one_life(killed, flags, chance))
        print(f"kill {number + 1} of {flags.kills}: {lives[-1]}", flush=True)
    statuses = wait(live(killed, flags.steps, flags.processes))
    report = {
        "kills": flags.kills,
        "processes": flags.processes,
        "steps": flags.steps,
        "seed": flags.seed,
        "ways": dict(collections.Counter(f"{life['way']}, {life['moment']}" for life in lives)),
        "longest_end_s": max(life["end_s"] for life in lives),
        "last_statuses": statuses,
        "different": differences(left_alone, killed, flags.steps),
        "minutes": (time.perf_counter() - start) / 60,
        "jax": jax.__version__,
        "lives": lives,
    }
    print(json.dumps({name: value for name, value in report.items() if name != "lives"}, indent=2))
    if flags.out:
        flags.out.write_text(json.dumps(report, indent=2) + "\n")
    sys.exit(bool(report["different"] or any(statuses)))


def one_life(workdir: Path, flags: argparse.Namespace, chance: random.Random) -> dict[str, Any]:
    """Starts the run, kills it at a random moment, and waits until all its processes have ended."""
    way, moment, before = chance.choice(WAYS), chance.choice(MOMENTS), newest_step(workdir)
    seconds, steps = chance.uniform(0, 10), chance.randint(1, 100)
    left_behind, row = unfinished(workdir), newest_row(workdir)  # of the life before
    has_come: dict[str, Callable[[], bool]] = {
        "starting": lambda: time.monotonic() - begin > seconds,
        "saving": lambda: bool(unfinished(workdir) - left_behind),
        "drawing": lambda: is_drawing(workdir, row),
        "stepping": lambda: newest_row(workdir) >= row + steps,
    }
    processes, begin = live(workdir, flags.steps, flags.processes), time.monotonic()
    while all(process.poll() is None for process in processes) and not has_come[moment]():
        time.sleep(0.01)
    after = time.monotonic() - begin
    if newest_step(workdir) >= flags.steps:
        raise SystemExit(
            f"the run finished before it could be killed often enough: give more --steps than {flags.steps}"
        )
    number = signal.SIGTERM if way == "SIGTERM to one" else signal.SIGKILL
    for process in processes if way == "SIGKILL to all" else [chance.choice(processes)]:
        process.send_signal(number)
    killed = time.monotonic()
    statuses = wait(processes)
    ended = time.monotonic() - killed
    fine = {-signal.SIGKILL, -signal.SIGTERM, RUN_AGAIN, -signal.SIGABRT, 1}  # the last two: of those left behind
    assert set(statuses) <= fine, statuses
    return {
        "way": way,
        "moment": moment,
        "after_s": round(after, 2),
        "end_s": round(ended, 1),
        "statuses": statuses,
        "from_step": before,
        "to_step": newest_step(workdir),
    }


def unfinished(workdir: Path) -> set[tuple[str, int]]:
    """Returns checkpoints being written, or left half-written, with their serial numbers on the disk."""
    with contextlib.suppress(FileNotFoundError):  # one got its name meanwhile
        return {(path.name, path.stat().st_ino) for path in (workdir / CHECKPOINTS).glob("*.orbax-checkpoint-tmp*")}
    return set()


def is_drawing(workdir: Path, row: int) -> bool:
    """Returns whether a life is at a later step than `row`, saved and now drawn."""
    step = newest_row(workdir)
    return step > row and step % DRAWN_EVERY == 0 and not image_file(workdir, SAMPLES, step).exists()


def newest_row(workdir: Path) -> int:
    """Returns the step of the last whole row of the metrics."""
    rows = read_metrics(workdir)
    return rows[-1]["step"] if rows else 0


def live(workdir: Path, steps: int, count: int) -> list[subprocess.Popen]:
    """Starts the processes of a run."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(2 // count or 1),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",  # compiled in half the time
        "JAX_COMPILATION_CACHE_DIR": str(workdir.parent / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    fields = [f"--config.{change}" for change in (*CHANGES, f"train.steps={steps}")]
    command = [sys.executable, "-m", "sagan_jax.main", "--config=configs/digits.py", f"--workdir={workdir}", *fields]
    several = [f"--coordinator=localhost:{port}", f"--processes={count}"] if count > 1 else []
    log = workdir.parent / f"{workdir.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        return [
            subprocess.Popen(
                [*command, *several, *([f"--process={i}"] if several else [])],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
            )
            for i in range(count)
        ]


def wait(processes: list[subprocess.Popen]) -> list[int]:
    """Returns the exit statuses, once all have ended."""
    return [process.wait(LIMIT) for process in processes]


def newest_step(workdir: Path) -> int:
    """Returns the newest step of the finished checkpoints."""
    return max((int(path.name) for path in (workdir / CHECKPOINTS).glob("[0-9]*") if path.name.isdecimal()), default=0)


def differences(first: Path, second: Path, steps: int) -> list[str]:
    """Returns what is not the same, bit for bit, after the last step."""
    config = changed_config("digits", CHANGES)
    like = abstract_state(build_step_config(config), make_mesh(jax.devices()[:1]))
    states = [
        jax.tree_util.tree_leaves_with_path(jax.device_get(SavedCheckpoints(run / CHECKPOINTS).restore(steps, like)))
        for run in (first, second)
    ]
    found = [
        jax.tree_util.keystr(path)
        for (path, a), (_, b) in zip(*states, strict=True)
        if not np.array_equal(a, b, equal_nan=True)
    ]
    values = [
        [{k: v for k, v in row.items() if k not in TIMINGS} for row in read_metrics(run)] for run in (first, second)
    ]
    found += [METRICS_FILE] if values[0] != values[1] else []
    for kind in (SAMPLES, ATTENTION):
        pictures = [{file.name: file.read_bytes() for file in (run / kind).iterdir()} for run in (first, second)]
        found += [kind] if pictures[0] != pictures[1] else []
    return found


if __name__ == "__main__":
    main()
