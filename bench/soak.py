"""Kills a run again and again at random moments, and compares what comes out with a run that was left alone.

python bench/soak.py [--kills=30] [--processes=2] [--steps=2500] [--seed=0] [--folder=DIR] [--out=FILE.json]

The run is a tiny one of the digits, as real processes. Each life of it gets a random while after its first step, or
fewer, and then one of: SIGKILL to all processes, SIGTERM to one, SIGKILL to one. After the last kill it is left to
finish. Weights, both optimisers, moving average and metrics must then be those of the undisturbed run, bit for bit.
"""

import argparse
import collections
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from experiment import ROOT, load_config

from sagan_jax.errors import RUN_AGAIN
from sagan_jax.runtime.checkpoint import SavedCheckpoints
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.training.dispatch import compile_creation
from sagan_jax.training.step import build_recipe

CHANGES = (
    "model.latent_size=8",
    "model.generator.channels=2",
    "model.discriminator.channels=2",
    "train.batch_size=16",
    "train.ema_start_step=2",
    "sampling.batch_size=16",
    "sampling.standing_batches=2",
    "log.every_steps=5",
    "log.pictures_every_steps=1000",
    "checkpoint.every_steps=50",
    "faults.join_seconds=30",
    "eval.features=",
)
WAYS = ("SIGKILL to all", "SIGTERM to one", "SIGKILL to one")
TIMINGS = {"steps_per_s", "images_per_s", "data_wait"}
LIMIT = 600  # seconds that a life may take to end by itself


def main() -> None:
    """Prints a line per kill and the result; exits with 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2500)
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
        "ways": dict(collections.Counter(life["way"] for life in lives)),
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
    """Starts the run, kills it after a random while, and waits until all its processes have ended."""
    way, before = chance.choice(WAYS), newest_step(workdir)
    processes = live(workdir, flags.steps, flags.processes)
    begin = time.monotonic()
    # From the middle of starting up to some hundreds of steps after it.
    patience = chance.choice([chance.uniform(0, 10), chance.uniform(10, 40)])
    while time.monotonic() - begin < patience and all(process.poll() is None for process in processes):
        time.sleep(0.01)
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
        "after_s": round(patience, 2),
        "end_s": round(ended, 1),
        "statuses": statuses,
        "from_step": before,
        "to_step": newest_step(workdir),
    }


def live(workdir: Path, steps: int, count: int) -> list[subprocess.Popen]:
    """The processes of a run, started."""
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
    """Exit statuses, once all have ended."""
    return [process.wait(LIMIT) for process in processes]


def newest_step(workdir: Path) -> int:
    """Of the finished checkpoints."""
    return max(
        (int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*") if path.name.isdecimal()), default=0
    )


def differences(first: Path, second: Path, steps: int) -> list[str]:
    """What is not the same, bit for bit, after the last step."""
    config = load_config("digits", CHANGES)
    like = compile_creation(build_recipe(config), make_mesh(jax.devices()[:1])).eval_shape(jax.random.key(0))
    states = [
        jax.tree_util.tree_leaves_with_path(jax.device_get(SavedCheckpoints(run / "checkpoints").restore(steps, like)))
        for run in (first, second)
    ]
    found = [
        jax.tree_util.keystr(path)
        for (path, a), (_, b) in zip(*states, strict=True)
        if not np.array_equal(a, b, equal_nan=True)
    ]
    rows = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (first, second)]
    values = [[{k: v for k, v in row.items() if k not in TIMINGS} for row in each] for each in rows]
    return found + (["metrics.jsonl"] if values[0] != values[1] else [])


if __name__ == "__main__":
    main()
