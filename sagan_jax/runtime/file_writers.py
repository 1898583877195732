"""Writers into a run's folder: rows of metrics, PNG files, and where TensorFlow is installed TensorBoard's files."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from sagan_jax.runtime.journal import Journal
from sagan_jax.runtime.pictures import encoded_png
from sagan_jax.runtime.timing import warn
from sagan_jax.runtime.workdir import METRICS_FILE, TENSORBOARD, image_file, parse_metrics, write_or_warn


class JsonlWriter:
    """Writes metrics as rows of `metrics.jsonl`, one row per step; rows that cannot be written wait until they can."""

    def __init__(self, workdir: epath.Path):
        self._journal = Journal(workdir / METRICS_FILE)
        self._last: dict[str, Any] = {}  # row

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one row, or adds to the last one where that is of this step."""
        if self._last.get("step") == step:
            self._last |= scalars
            self._journal.replace([*self._journal.lines()[:-1], json.dumps(self._last)])
        else:
            self._last = {"step": step, **scalars}
            self._journal.append(json.dumps(self._last))

    def has_row(self, step: int, scalars: Mapping[str, float]) -> bool:
        """Returns whether a row of this step has all these metrics, of any value."""
        rows = [row for row in map(parse_metrics, self._journal.lines()) if row and row["step"] == step]
        return any(scalars.keys() <= row.keys() for row in rows)

    def rewind(self, step: int) -> None:
        """Removes the rows of later steps, and those that a crash has cut short."""
        lines = self._journal.lines()
        rows = [(line, row) for line in lines if (row := parse_metrics(line)) and row["step"] <= step]
        self._last = rows[-1][1] if rows else {}
        if len(rows) < len(lines):
            self._journal.replace([line for line, _ in rows])

    def flush(self) -> None:
        """Writes the rows that wait."""
        self._journal.flush()

    close = flush


class PngWriter:
    """Writes images as `KIND/STEP.png`."""

    def __init__(self, workdir: epath.Path):
        self._workdir = workdir

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Writes images [1, H, W, 3] uint8 by kind."""
        for kind, image in images.items():
            write_or_warn(image_file(self._workdir, kind, step), encoded_png(image[0]))


def open_tensorboard(workdir: epath.Path) -> Any:
    """Opens clu's writer of event files, in a thread of its own; returns None where they cannot be written."""
    try:
        from clu import metric_writers
    except ImportError:  # clu's writers need TensorFlow
        return None
    folder = workdir / TENSORBOARD
    try:
        return metric_writers.AsyncWriter(metric_writers.SummaryWriter(str(folder)))
    except Exception as error:  # TensorFlow's own kinds: it reaches a bucket in another way than the rest of us
        reason = str(error).partition("\n")[0]
        warn(f"TensorBoard files cannot be written into {folder} ({reason}): the run goes on without them")
        return None
