"""Runs the benchmarks that need an accelerator, each in a process of its own, and collects them in one JSON file.

Called by gpu.sh. The file is written anew after each part, so that nothing is lost where time runs out.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BENCH = Path(__file__).parent
STEP, CORRECT = ("train_step.py", "--profile"), ("correctness.py",)
PEER = ("--precision=bf16", "--channels-last", "--device=cuda")
# Name, program and flags; in the order of their worth.
PARTS: dict[str, tuple[str, ...]] = {
    "step128": (*STEP, "--config=imagenet128"),
    "peer128": ("peer", "--config=sagan128", "--batch=256", *PEER, "--compile", "--fold-resample"),
    "step32": (*STEP, "--config=cifar10"),
    "step32_ten_per_call": ("train_step.py", "--config=cifar10", "--set=train.steps_per_call=10"),
    "peer32": ("peer", "--config=cifar32", "--batch=64", *PEER, "--compile=reduce-overhead", "--fold-resample"),
    "correct32": (*CORRECT, "--config=cifar10", "--batch-size=16"),
    "correct128": (*CORRECT, "--config=imagenet128", "--batch-size=4"),
    "operations128": ("operations.py", "--config=imagenet128"),
    "stall128": ("checkpoint_stall.py", "--config=imagenet128"),
    "evaluation128": ("evaluation.py", "--config=imagenet128"),
    "peer128_apart": ("peer", "--config=sagan128", "--batch=256", *PEER, "--compile"),
    "peer32_apart": ("peer", "--config=cifar32", "--batch=64", *PEER, "--compile=reduce-overhead"),
}
# The same on a CPU in a minute, to see that everything works.
NARROW = ("--set=model.generator.channels=4", "--set=model.discriminator.channels=4")
# In narrower networks the gradient of a gate, which is a difference of large sums, is mostly rounding.
WIDER = ("--set=model.generator.channels=8", "--set=model.discriminator.channels=8")
SMALL = (*NARROW, "--set=train.batch_size=8")
SMALLEST: dict[str, tuple[str, ...]] = {
    "step": (*STEP, "--config=digits", *SMALL, "--rounds=2", "--seconds=0.2"),
    "correct": (*CORRECT, "--config=digits", *WIDER, "--batch-size=64"),
    "operations": ("operations.py", "--config=digits", *SMALL),
    "peer": ("peer", "--config=cifar32", "--batch=1", "--device=cpu", "--steps=1", "--warmup=1"),
}


def main() -> None:
    """Runs the parts in order until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("result", type=Path, help="JSON file to write")
    parser.add_argument("--peer", type=Path, help="the PyTorch program to compare with")
    parser.add_argument("--parts", help=f"those to run, with commas: {','.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=520, help="time for all of them")
    parser.add_argument("--smallest", action="store_true", help="a form for a CPU, to see that everything works")
    flags = parser.parse_args()
    parts = SMALLEST if flags.smallest else PARTS
    chosen = flags.parts.split(",") if flags.parts else list(parts)
    if unknown := set(chosen) - set(parts):
        parser.error(f"--parts={','.join(sorted(unknown))} is unknown: choose from {','.join(parts)}")
    end = time.monotonic() + flags.seconds
    found: dict[str, Any] = {"date": datetime.date.today().isoformat(), "commit": commit(), "parts": {}}
    for name in chosen:
        command, left = list(parts[name]), end - time.monotonic()
        if command[0] == "peer" and not flags.peer:
            continue
        if left < 10:
            found["parts"][name] = {"left_out": "no time left"}
            continue
        program = flags.peer if command[0] == "peer" else BENCH / command[0]
        found["parts"][name] = outcome = run(program, command[1:], left)
        flags.result.parent.mkdir(parents=True, exist_ok=True)
        flags.result.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{name:<22} {outcome['seconds']:>6.1f} s  exit {outcome['exit']}", flush=True)
        if outcome["exit"]:
            print(outcome["output"], flush=True)


def run(program: Path, arguments: list[str], seconds: float) -> dict[str, Any]:
    """Runs a program that writes lines of JSON to a file; its last output is kept where it fails."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "found.json")
        command = [sys.executable, str(program), *arguments]
        try:
            process = subprocess.run(
                [*command, f"--json={file}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds
            )
            status, output = process.returncode, process.stdout
        except subprocess.TimeoutExpired as error:
            status, output = 124, error.stdout or b""
        lines = file.read_text().splitlines() if file.exists() else []
    outcome = {"command": f"{program.name} {' '.join(arguments)}", "seconds": time.monotonic() - start, "exit": status}
    if status:
        outcome["output"] = output.decode(errors="replace")[-3000:]
    return outcome | {"found": [json.loads(line) for line in lines]}


def commit() -> str:
    """Returns the project's commit; empty outside of its repository."""
    command = ["git", "-C", str(BENCH), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
