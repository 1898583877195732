"""Where metrics and pictures of a run go: JSONL and PNG always, TensorBoard where TensorFlow is installed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sagan_jax.runtime.storage import write_whole

METRICS_FILE = "metrics.jsonl"


class RunWriter:
    """Writes into a workdir: `metrics.jsonl`, `KIND/STEP.png`, and TensorBoard event files in `tensorboard/`.

    Args:
      workdir: an existing folder.
      step: completed steps; rows of later steps, left by a run that died, are removed,
        since those steps are about to be taken again.
    """

    def __init__(self, workdir: Path, step: int):
        self.workdir = workdir
        self._metrics = workdir / METRICS_FILE
        _drop_rows_after(self._metrics, step)
        self._tensorboard = _tensorboard_writer(workdir / "tensorboard")

    @property
    def metrics_file(self) -> Path:
        """The JSONL file: one object per line with `step` and the metrics."""
        return self._metrics

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes one row of metrics."""
        with self._metrics.open("a") as file:
            file.write(json.dumps({"step": step} | values) + "\n")
        if self._tensorboard:
            self._tensorboard.write_scalars(step, values)

    def picture(self, step: int, kind: str, image: np.ndarray) -> Path:
        """Writes an image [H, W, 3] uint8 and returns where the PNG file is."""
        path = self.workdir / kind / f"{step:08d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
        if self._tensorboard:
            self._tensorboard.write_images(step, {kind: image[None]})
        return path

    def close(self) -> None:
        """Finishes what is still being written."""
        if self._tensorboard:
            self._tensorboard.close()


def _tensorboard_writer(folder: Path) -> Any:
    try:
        from clu import metric_writers
    except ImportError:  # clu's writers need TensorFlow
        return None
    return metric_writers.AsyncWriter(metric_writers.SummaryWriter(str(folder)))


def _drop_rows_after(file: Path, step: int) -> None:
    if file.exists():
        rows = [line for line in file.read_text().splitlines() if _step_of(line) <= step]
        write_whole(file, "".join(row + "\n" for row in rows).encode())


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # a row cut short by a crash
        return float("inf")
