"""Where metrics and pictures of a run go: JSONL and PNG always, TensorBoard where TensorFlow is installed.

Nothing that fails here ends a run: it is told, and what matters waits.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epath

from sagan_jax.runtime.journal import Journal
from sagan_jax.runtime.pictures import encoded_png
from sagan_jax.runtime.processes import is_host0
from sagan_jax.runtime.storage import describe_error, write_atomic
from sagan_jax.runtime.timing import warn

METRICS_FILE = "metrics.jsonl"


class RunWriter:
    """Writes into a workdir: `metrics.jsonl`, `KIND/STEP.png`, and TensorBoard event files in `tensorboard/`.

    Args:
      workdir: an existing folder.
      step: completed steps; rows of later steps, left by a run that died, are removed,
        since those steps are about to be taken again.
    """

    def __init__(self, workdir: epath.Path, step: int):
        self.workdir = workdir
        self._metrics = Journal(self.metrics_file)
        self.rewind(step)
        self._tensorboard = _tensorboard_writer(workdir / "tensorboard")

    @property
    def metrics_file(self) -> epath.Path:
        """The JSONL file: one object per line with `step` and the metrics."""
        return self.workdir / METRICS_FILE

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes one row of metrics."""
        self._metrics.append(json.dumps({"step": step} | values))
        self._show(lambda tensorboard: tensorboard.write_scalars(step, values))

    def scalars_once(self, step: int, values: dict[str, float]) -> None:
        """Writes a row, unless one of this step with the same metrics is there from before the run was cut off here."""
        rows = [json.loads(line) for line in self._metrics.lines() if _step_of(line) == step]
        if not any(values.keys() <= row.keys() for row in rows):
            self.scalars(step, values)

    def picture_file(self, step: int, kind: str) -> epath.Path:
        """Where `picture` writes."""
        return self.workdir / kind / f"{step:08d}.png"

    def picture(self, step: int, kind: str, image: np.ndarray) -> epath.Path:
        """Writes an image [H, W, 3] uint8 and returns where the PNG file is."""
        path = self.picture_file(step, kind)
        self.file(path, encoded_png(image))
        self._show(lambda tensorboard: tensorboard.write_images(step, {kind: image[None]}))
        return path

    def file(self, path: epath.Path, data: bytes) -> None:
        """Writes a whole file into the workdir, and its folder where that is missing."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)
        except Exception as error:  # a bucket has its own kinds
            warn(f"{path} could not be written ({describe_error(error)}): the run goes on without it")

    def flush(self) -> None:
        """Writes the rows that wait."""
        self._metrics.flush()

    def rewind(self, step: int) -> None:
        """Removes the rows of later steps, which are about to be taken again."""
        lines = self._metrics.lines()
        kept = [line for line in lines if _step_of(line) <= step]
        if kept != lines:
            self._metrics.replace(kept)

    def close(self) -> None:
        """Finishes what is still being written."""
        self.flush()
        self._show(lambda tensorboard: tensorboard.close())

    def _show(self, write: Callable[[Any], None]) -> None:
        if not self._tensorboard:
            return
        try:
            write(self._tensorboard)
        except Exception as error:  # its own kinds, of a thread of its own
            warn(
                f"TensorBoard files can no longer be written ({error.__cause__ or error}): the run goes on without them"
            )
            self._tensorboard = None


class SilentWriter(RunWriter):
    """Of the processes that leave writing to the first one."""

    def __init__(self, workdir: epath.Path):
        self.workdir = workdir

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Nothing."""

    def scalars_once(self, step: int, values: dict[str, float]) -> None:
        """Nothing."""

    def picture(self, step: int, kind: str, image: np.ndarray) -> epath.Path:
        """Nothing; returns where the first process writes the image."""
        return self.picture_file(step, kind)

    def file(self, path: epath.Path, data: bytes) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""

    def rewind(self, step: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def open_writer(workdir: epath.Path, step: int) -> RunWriter:
    """What writes into a workdir in the first process, and nothing in the others."""
    return RunWriter(workdir, step) if is_host0() else SilentWriter(workdir)


def _tensorboard_writer(folder: epath.Path) -> Any:
    try:
        from clu import metric_writers
    except ImportError:  # clu's writers need TensorFlow
        return None
    try:
        return metric_writers.AsyncWriter(metric_writers.SummaryWriter(str(folder)))
    except Exception as error:  # TensorFlow's own kinds: it reaches a bucket in another way than the rest of us
        reason = str(error).partition("\n")[0]
        warn(f"TensorBoard files cannot be written into {folder} ({reason}): the run goes on without them")
        return None


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # a row cut short by a crash
        return float("inf")
