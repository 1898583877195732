"""Sends metrics, images and texts of a run to writers: those into its folder, and any that a user passes.

No failure of a writer ends a run: a writer that raises is dropped, with one warning.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from etils import epath

from sagan_jax.errors import InputError
from sagan_jax.runtime.file_writers import JsonlWriter, PngWriter, open_tensorboard
from sagan_jax.runtime.processes import broadcast_from_host0, is_host0
from sagan_jax.runtime.storage import describe_error
from sagan_jax.runtime.timing import warn
from sagan_jax.runtime.workdir import METRICS_FILE, image_file


class MetricWriter(Protocol):
    """Receives what a run reports, in process 0 and in the order of the steps; clu's metric writers are such.

    `write_scalars` is required. A method that is missing, or raises NotImplementedError, is left out. The steps that a
    run repeats, after it was cut off or went back to a checkpoint, are written again.
    """

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes metrics after so many completed steps: the rows of `metrics.jsonl`."""

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Writes images [1, H, W, 3] uint8 by kind: "samples", "attention", "real", "neighbours"."""

    def write_histograms(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the distribution of numbers [N] by name: "logits/training", "logits/held_out", "logits/generated"."""

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes JSON by name: "config" at the start of the program, "eval/protocol" with the scores of a step."""

    def flush(self) -> None:
        """Writes what is still held back; called before each checkpoint."""

    def close(self) -> None:
        """Writes what is still held back, and ends; called once, at the end of the run."""


class RunWriter:
    """Writes to all the writers of a run.

    Args:
      workdir: the run's folder.
      rows: writes `metrics.jsonl`; None in processes that leave writing to the first one.
      others: further writers, by the names that warnings call them by.
    """

    def __init__(self, workdir: epath.Path, rows: JsonlWriter | None, others: Mapping[str, Any]):
        self.workdir, self._rows = workdir, rows
        self._writers = ({METRICS_FILE: rows} if rows else {}) | dict(others)

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one row of metrics."""
        self._call("write_scalars", step, scalars)

    def write_scalars_once(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes a row, unless one of this step with the same metrics is there from before the run was cut off here."""
        if self._rows and not self._rows.has_row(step, scalars):
            self.write_scalars(step, scalars)

    def write_image(self, step: int, kind: str, image: np.ndarray) -> epath.Path:
        """Writes an image [H, W, 3] uint8; returns its PNG file, which the first process writes."""
        self._call("write_images", step, {kind: image[None]})
        return image_file(self.workdir, kind, step)

    def takes_histograms(self) -> bool:
        """Returns whether a writer takes them, of the first process, in every process; all of them must ask."""
        return bool(broadcast_from_host0(any(hasattr(one, "write_histograms") for one in self._writers.values())))

    def write_histograms(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes distributions of numbers by name."""
        self._call("write_histograms", step, arrays)

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes texts by name."""
        self._call("write_texts", step, texts)

    def rewind(self, step: int) -> None:
        """Removes the rows of later steps, which are about to be taken again."""
        if self._rows:
            self._rows.rewind(step)

    def flush(self) -> None:
        """Writes what is still held back."""
        self._call("flush")

    def close(self) -> None:
        """Finishes what is still being written."""
        self._call("close")

    def _call(self, method: str, *arguments: Any) -> None:
        for name, writer in tuple(self._writers.items()):
            try:
                if function := getattr(writer, method, None):
                    function(*arguments)
            except NotImplementedError:
                continue
            except Exception as error:  # of any kind: most writers are other people's
                del self._writers[name]
                cause = error.__cause__ or error
                reason = f"{type(cause).__name__}: {describe_error(cause)}"
                warn(f"{name} failed in {method} ({reason}): the run goes on without it")


def open_writer(workdir: epath.Path, step: int, writers: Sequence[MetricWriter] = ()) -> RunWriter:
    """Opens all writers in the first process, and none in the others.

    Args:
      workdir: an existing folder.
      step: completed steps; rows of later steps, left by a run that died, are removed, since these steps are about to
        be taken again.
      writers: a user's own, written to after those into the folder.

    Raises:
      InputError: see `check_writers`.
    """
    check_writers(writers)
    if not is_host0():
        return RunWriter(workdir, None, {})
    rows = JsonlWriter(workdir)
    rows.rewind(step)
    others: dict[str, Any] = {"PNG files": PngWriter(workdir)}
    if tensorboard := open_tensorboard(workdir):
        others["TensorBoard"] = tensorboard
    named = {f"writers[{i}] ({type(writer).__name__})": writer for i, writer in enumerate(writers)}
    return RunWriter(workdir, rows, others | named)


def check_writers(writers: Sequence[MetricWriter]) -> None:
    """Raises InputError if one of a user's writers is no object with a method `write_scalars`."""
    for i, writer in enumerate(writers):
        if isinstance(writer, type) or not callable(getattr(writer, "write_scalars", None)):
            raise InputError(
                f"writers[{i}] = {writer!r} is no object with a method write_scalars(step, scalars): give one as"
                " sagan_jax.runtime.writer.MetricWriter describes it."
            )
