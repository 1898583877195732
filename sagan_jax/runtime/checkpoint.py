"""Saves and restores checkpoints with Orbax: asynchronous, atomic, each with a manifest of its files."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from sagan_jax.errors import FailedError, InputError
from sagan_jax.runtime.checkpoint_keeping import STOP, KeepRegular, is_regular
from sagan_jax.runtime.checkpoint_manifest import find_damaged, quarantine, write_manifest
from sagan_jax.runtime.checkpoint_reading import SavedCheckpoints, Tree
from sagan_jax.runtime.processes import broadcast_from_host0, is_host0
from sagan_jax.runtime.storage import describe_error
from sagan_jax.runtime.timing import info, warn

RETRY_PAUSES = (5.0, 20.0)  # seconds before each further attempt to save the last state of a run


class WrittenCheckpoints(SavedCheckpoints):
    """Reads and writes checkpoints.

    Attributes:
      failed: whether the newest save failed and should be repeated soon.
    """

    failed = False
    _step_being_written = 0

    def notes(self, step: int) -> dict[str, Any]:
        """Returns what a checkpoint was saved with; empty for those of earlier versions."""
        return self._manager.metrics(step) or {}

    def _write(self, step: int, state: Tree, metrics: dict[str, Any] | None = None) -> None:
        with self._recording_failure():
            if self.failed:
                self._reopen()
            self.failed, self._step_being_written = False, step
            saved = self._manager.save(step, args=ocp.args.PyTreeSave(state), metrics=metrics)
            if not saved and step not in self._manager.all_steps():
                raise RuntimeError(f"there is a later checkpoint than {step}, after which Orbax takes none")

    def _reopen(self) -> None:
        """Replaces the manager, since one whose save has failed cannot save again; removes partial checkpoints."""
        with contextlib.suppress(Exception):
            self._manager.close()
        self._open(self.folder, self._options)

    @contextlib.contextmanager
    def _recording_failure(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # TensorStore and the system raise many kinds
            if jax.process_count() > 1:
                raise
            self.failed = True
            warn(
                f"could not save into {self.folder} ({describe_error(error)}): the run goes on and tries again; what"
                " was saved before is kept"
            )
            with contextlib.suppress(Exception):  # tried again with the next save
                self._reopen()

    def _writing_options(self, folder: epath.Path, **kept: Any) -> ocp.CheckpointManagerOptions:
        def finalize() -> None:
            if is_host0():
                write_manifest(folder, self._step_being_written)

        return ocp.CheckpointManagerOptions(
            cleanup_tmp_directories=True,  # partial checkpoints of a run that was killed
            # Called before the checkpoint is renamed to its final name.
            async_options=ocp.options.AsyncOptions(post_finalization_callback=finalize),
            **kept,
        )


class Checkpoints(WrittenCheckpoints):
    """Reads and writes a run's checkpoints. Quarantines damaged ones that are newer than the newest intact one.

    Args:
      folder: of the checkpoints; created if missing.
      keep, keep_every_steps: see `KeepRegular`.

    Raises:
      InputError: there are checkpoints, and all are damaged.
    """

    def __init__(self, folder: epath.PathLike, keep: int, keep_every_steps: int):
        folder = epath.Path(folder)
        if is_host0():
            damaged, intact = find_damaged(folder)
            if damaged and intact is None:
                reasons = "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
                raise InputError(
                    f"all checkpoints in {folder} are damaged ({reasons}): restore one from a copy, or start afresh"
                    " with another --workdir."
                )
            quarantine(folder, damaged)
        broadcast_from_host0(0)  # the other processes wait for the first
        options = self._writing_options(folder, preservation_policy=KeepRegular(keep, keep_every_steps))
        options.best_fn = lambda notes: 0.0  # without it Orbax writes no notes; none is better than another
        self._open(folder, options)

    def newest_step(self) -> int | None:
        """Returns the completed steps of the newest checkpoint, or None if there is none."""
        return self._manager.latest_step()

    def newest_regular_step(self) -> int | None:
        """Returns those of the newest checkpoint that was not saved for a stop, or None if there is none."""
        return max(filter(self._is_regular, self.steps()), default=None)

    def drop_stop(self) -> None:
        """Deletes the checkpoint of a stop, before the run goes back to the newest regular one."""
        for step in self.steps():
            if not self._is_regular(step):
                self._manager.delete(step)

    def _is_regular(self, step: int) -> bool:
        return is_regular(self.notes(step))

    def save(self, step: int, state: Tree, notes: Mapping[str, Any] | None = None, *, stop: bool = False) -> None:
        """Starts saving the state in the background; returns once the arrays are copied from the devices.

        A failure is a warning and sets `failed`; earlier checkpoints are kept. With several processes it is raised
        instead, since they could only continue together.

        Args:
          step: completed steps.
          state: arrays.
          notes: JSON values that are kept with it.
          stop: whether an undisturbed run would not save here.
        """
        with self._recording_failure():
            self._manager.wait_until_finished()  # raises the error of the previous save
        self._write(step, state, {**(notes or {}), STOP: stop})

    def wait_until_saved(self, step: int, state: Tree, notes: Mapping[str, Any] | None = None, *, stop: bool) -> None:
        """Waits until what was just passed to `save` is on disk; repeats a save that failed.

        Raises:
          FailedError: all attempts failed.
        """
        for pause in RETRY_PAUSES:
            self.look_for_failure(wait=True)
            if not self.failed:
                return
            time.sleep(pause)
            self.save(step, state, notes, stop=stop)
        self.look_for_failure(wait=True)
        if self.failed:
            raise FailedError(
                f"the state of step {step:,} could not be saved into {self.folder}: make room and run the same again;"
                f" it goes on from step {self.newest_step() or 0:,}."
            )

    def look_for_failure(self, *, wait: bool = False) -> None:
        """Sets `failed` if the save in the background has failed; with `wait`, waits for its end."""
        if wait or not self._manager.is_saving_in_progress():
            with self._recording_failure():
                self._manager.wait_until_finished()


def save_once(folder: epath.Path, state: Tree) -> None:
    """Saves a state by itself, for inspection, and waits for it; a failure is only a warning."""
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(folder, state, force=True)
    except Exception as error:  # TensorStore and the system raise many kinds
        if jax.process_count() > 1:
            raise
        warn(f"the state could not be kept in {folder} ({describe_error(error)})")
        return
    info(f"the state is kept in {folder}")


class BestCheckpoint(WrittenCheckpoints):
    """Keeps the one checkpoint with the best score so far, and the score with it, for a resumed run.

    Args:
      folder: of the checkpoint; created if missing.
      measure: names the score with its protocol; scores of another measure cannot be compared.
      lower_is_better: whether a lower score is better.

    Raises:
      InputError: the existing checkpoint was chosen by another measure.
    """

    def __init__(self, folder: epath.PathLike, measure: str, *, lower_is_better: bool):
        folder = epath.Path(folder)
        if is_host0():
            quarantine(folder, find_damaged(folder)[0])
        broadcast_from_host0(0)  # the other processes wait for the first
        options = self._writing_options(folder, max_to_keep=1)
        options.best_fn, options.best_mode = (lambda saved: saved["score"]), ("min" if lower_is_better else "max")
        self._open(folder, options)
        self._measure, self._lower_is_better = measure, lower_is_better
        step = self._manager.best_step()
        chosen_by = None if step is None else self.notes(step).get("measure")
        if chosen_by not in (None, measure):
            raise InputError(
                f"the checkpoint in {folder} is the best by another measure ({chosen_by}):"
                " set eval.* back, or move that folder away."
            )

    def score(self) -> float | None:
        """Returns the score of the existing checkpoint, or None."""
        step = self._manager.best_step()
        return None if step is None else float(self.notes(step)["score"])

    def save_if_better(self, step: int, state: Tree, score: float) -> bool:
        """Replaces the checkpoint if the score is better than its own; returns whether it did."""
        better = False
        with self._recording_failure():
            self._delete_later(step, score)
            best = self.score()
            better = best is None or (score < best if self._lower_is_better else score > best)
        if not broadcast_from_host0(better):
            return False
        self._write(step, state, {"score": score, "measure": self._measure})
        with self._recording_failure():
            self._manager.wait_until_finished()
        return not self.failed

    def _delete_later(self, step: int, score: float) -> None:
        """Deletes a checkpoint of a later step, or of this one with another score: the run has gone back before it."""
        best = self._manager.best_step()
        if best is not None and broadcast_from_host0(best > step or (best == step and self.score() != score)):
            self._manager.delete(best)
