"""The names of the files in a run's folder, and how its metrics are read."""

import json
import math
from typing import Any

from etils import epath

from sagan_jax.runtime.documents import read_bytes
from sagan_jax.runtime.processes import is_host0
from sagan_jax.runtime.storage import describe_error, write_atomic
from sagan_jax.runtime.timing import warn

LOCK_FILE = ".lock"  # names the process that uses the folder
CONFIG_FILE, DATA_FILE = "config.json", "data.json"  # the settings, and the data that they were for
PARAMETERS_FILE = "parameters.txt"  # every parameter with its shape
CLASSES_FILE = "classes.txt"  # label, name, number and fraction of the images of each class
METRICS_FILE = "metrics.jsonl"  # rows {"step": completed steps, metric: value, ...}
ROLLBACKS_FILE = "rollbacks.json"  # [{"step": gone back to, "reason": ...}, ...]

# Folders.
SAMPLES, ATTENTION, REAL, NEIGHBOURS = "samples", "attention", "real", "neighbours"  # kinds of images: STEP.png
TENSORBOARD = "tensorboard"  # event files
EVALUATIONS = "evaluations"  # scores with their protocol: STEP-FEATURES-PROTOCOL.json
CHECKPOINTS, BEST = "checkpoints", "best"  # the newest and the permanent ones; the one with the best score
DIVERGED = "diverged"  # states in which the run diverged
QUARANTINE = "quarantine"  # damaged checkpoints


MOST_METRICS = 4 << 30  # bytes
MOST_STEP, MOST_VALUE = 2**53, 1e300


def step_name(step: int) -> str:
    """Returns a step as it appears in names of files, which then sort by step."""
    return f"{step:08d}"


def image_file(workdir: epath.PathLike, kind: str, step: int) -> epath.Path:
    """Returns the PNG file of a kind of image, such as `SAMPLES`, at a step."""
    return epath.Path(workdir) / kind / f"{step_name(step)}.png"


def read_metrics(workdir: epath.PathLike) -> list[dict[str, Any]]:
    """Reads the rows of metrics, one per step, in the order in which they were written; none where there is no file.

    Skips a line that a crash has cut short, or that a run is just writing. Joins rows of one step, of which earlier
    versions wrote several.
    """
    file = epath.Path(workdir) / METRICS_FILE
    lines = read_bytes(file, MOST_METRICS).decode(errors="replace").splitlines() if file.exists() else []
    rows: list[dict[str, Any]] = []
    for line in lines:
        row = parse_metrics(line)
        if row is not None and rows and rows[-1]["step"] == row["step"]:
            rows[-1] |= row
        elif row is not None:
            rows.append(row)
    return rows


def parse_metrics(line: str) -> dict[str, Any] | None:
    """Parses a line of the metrics; returns None where it is no whole row. What is no finite number becomes NaN."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    step = row.get("step")
    if type(step) is not int or not 0 <= step < MOST_STEP:
        return None
    return {"step": step} | {name: _number(value) for name, value in row.items() if name != "step"}


def _number(value: Any) -> float:
    return value if type(value) in (int, float) and abs(value) < MOST_VALUE else math.nan


def write_or_warn(file: epath.Path, data: bytes) -> None:
    """Writes a whole file, and its folder where that is missing, in the first process; a failure is only a warning."""
    if not is_host0():
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, data)
    except Exception as error:  # a bucket has its own kinds
        warn(f"{file} could not be written ({describe_error(error)}): the run goes on without it")
