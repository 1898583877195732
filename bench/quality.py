"""How good the images are that a config learns to make in so many steps or minutes; or any tool's, measured alike.

python bench/quality.py --config=cifar10_small [--set=FIELD=VALUE ...] --steps=3000 | --minutes=20 --out=FILE.json
    --features=resnet56_cifar10=FILE [--features=inception2015:768=FILE] [--points=3] [--samples=10000] [--workdir=DIR]
python bench/quality.py --fake=samples.npz --real=prepared:data/cifar10 [--minutes=20] --features=... --out=FILE.json

Trains with `sagan_jax.main` and scores with `sagan_jax.evaluate`, each as a program of its own. With --steps,
checkpoints at --points evenly spaced steps are scored; with --minutes, which count from the program's start,
compilation included, the one at the end. Beside the JSON goes the last sample sheet, unselected. A run that was cut
off goes on; with --minutes it gets what was left of them. With --fake, --minutes only records what the images cost.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
from experiment import ROOT

from sagan_jax.errors import RUN_AGAIN
from sagan_jax.runtime.workdir import CHECKPOINTS, SAMPLES, read_metrics

BUDGET = "minutes.json"  # in the workdir: seconds trained so far, of a run that is limited by time


def main() -> None:
    """Trains, scores, and writes the JSON."""
    flags = parse_arguments()
    if flags.fake:
        found: dict[str, Any] = {"fake": flags.fake}
        points = [{"scores": [score(flags, [f"--fake={flags.fake}"], features) for features in flags.features]}]
    else:
        workdir = flags.workdir or flags.out.with_suffix("")
        seconds = train(flags, workdir)
        steps = saved_steps(workdir)
        chosen = steps[-1:] if flags.minutes else [step for step in steps if step % point_every(flags) == 0]
        points = [
            {
                "step": step,
                "scores": [
                    score(flags, [f"--workdir={workdir}", f"--checkpoint={step}", f"--samples={flags.samples}"], name)
                    for name in flags.features
                ],
            }
            for step in chosen
        ]
        sheet = sorted((workdir / SAMPLES).glob("*.png"))[-1]
        shutil.copy(sheet, flags.out.with_suffix(".png"))
        found = {"config": flags.config, "set": flags.set, "seconds": round(seconds), **speed(workdir)}
    budget = {"minutes": flags.minutes} if flags.minutes else {"steps": flags.steps}
    flags.out.write_text(json.dumps(found | budget | circumstances() | {"points": points}, indent=1) + "\n")
    for point in points:
        values = {key: round(s["value"], 4) for scores in point["scores"] for key, s in scores["scores"].items()}
        print(point.get("step", ""), json.dumps(values), flush=True)
    print(f"written to {flags.out}")


def parse_arguments() -> argparse.Namespace:
    """Returns the flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", help="a file of configs/, without .py")
    what.add_argument("--fake", help="images of another tool")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--points", type=int, default=1, help="checkpoints to score, of a run limited by steps")
    parser.add_argument("--features", action="append", required=True, metavar="NAME[=FILE]", help="may be repeated")
    parser.add_argument("--real", help="by default what the run was trained on")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--workdir", type=Path, help="of the run; by default beside the JSON")
    parser.add_argument("--out", type=Path, required=True, help="the JSON")
    flags = parser.parse_args()
    if flags.config and bool(flags.steps) == bool(flags.minutes):
        parser.error("give --steps or --minutes")
    if flags.fake and not flags.real:
        parser.error("--fake goes with --real")
    return flags


def point_every(flags: argparse.Namespace) -> int:
    """Returns the steps from one scored checkpoint to the next."""
    return max(1, flags.steps // flags.points)


def train(flags: argparse.Namespace, workdir: Path) -> float:
    """Trains, or continues; returns the seconds that it took in all."""
    command = [sys.executable, "-m", "sagan_jax.main", f"--config={ROOT}/configs/{flags.config}.py"]
    command += [f"--workdir={workdir}", "--config.eval.features=", *(f"--config.{change}" for change in flags.set)]
    if flags.steps:
        every = point_every(flags)
        command += [f"--config.train.steps={flags.steps}", f"--config.checkpoint.every_steps={every}"]
        command += [f"--config.checkpoint.keep_every_steps={every}"]
    workdir.mkdir(parents=True, exist_ok=True)
    budget = workdir / BUDGET
    trained = json.loads(budget.read_text())["seconds"] if budget.exists() else 0.0
    begin = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        while process.poll() is None:
            time.sleep(0.2)
            seconds = trained + time.monotonic() - begin
            budget.write_text(json.dumps({"seconds": seconds}))
            if flags.minutes and seconds >= 60 * flags.minutes:
                process.send_signal(signal.SIGTERM)  # it finishes its step, saves and ends
                process.wait()
    finally:
        process.terminate()
    if process.wait() not in (0, RUN_AGAIN if flags.minutes else 0):
        raise SystemExit(f"training ended with status {process.returncode}")
    return json.loads(budget.read_text())["seconds"]


def saved_steps(workdir: Path) -> list[int]:
    """Returns the steps of the checkpoints."""
    return sorted(int(path.name) for path in (workdir / CHECKPOINTS).iterdir() if path.name.isdecimal())


def score(flags: argparse.Namespace, subject: list[str], features: str) -> dict[str, Any]:
    """Runs `sagan_jax.evaluate`; returns its result."""
    name, _, file = features.partition("=")
    out = flags.out.with_suffix(f".{name.replace(':', '-')}.json")
    command = [sys.executable, "-m", "sagan_jax.evaluate", *subject, f"--features={name}", f"--out={out}"]
    command += [f"--weights={file}"] if file else []
    command += [f"--real={flags.real}"] if flags.real else []
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found = json.loads(out.read_text())
    out.unlink()
    out.with_suffix(".png").unlink(missing_ok=True)
    return found


def speed(workdir: Path) -> dict[str, float]:
    """Returns the steps per second, the median of the run's log."""
    rates = sorted(row["steps_per_s"] for row in read_metrics(workdir) if "steps_per_s" in row)
    return {"steps_per_s": round(rates[len(rates) // 2], 3)}


def circumstances() -> dict[str, Any]:
    """Returns where and with what this was measured."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    device = jax.devices()[0].device_kind
    return {
        "device": f"{os.cpu_count()} cores, {platform.machine()}" if device == "cpu" else device,
        "jax": jax.__version__,
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
    }


if __name__ == "__main__":
    main()
