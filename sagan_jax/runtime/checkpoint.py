"""Checkpoints with Orbax: saved in the background, atomically, with manifests; newest, milestones and best are kept."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from sagan_jax.errors import FailedError, InputError
from sagan_jax.runtime.checkpoint_manifest import find_damaged, quarantine, verify, write_manifest
from sagan_jax.runtime.processes import broadcast_from_host0, is_host0
from sagan_jax.runtime.storage import describe_error, is_remote
from sagan_jax.runtime.timing import info, warn

Tree = Any
PAUSES = (5.0, 20.0)  # seconds before the next try to save the last state of a run


class _Manager(ocp.CheckpointManager):
    """Leaves preemptions to `StopRequest`: Orbax asks JAX too, with other numbers, and stops would be lost."""

    def reached_preemption(self, step: int) -> bool:
        return False


class SavedCheckpoints:
    """Checkpoints to read, each named by its number of completed steps; touches nothing, so a run may go on meanwhile.

    Args:
      folder: where they lie.
    """

    def __init__(self, folder: epath.PathLike):
        self._open(epath.Path(folder), ocp.CheckpointManagerOptions(read_only=True, create=False))

    def _open(self, folder: epath.Path, options: ocp.CheckpointManagerOptions) -> None:
        self.folder, self._options = folder if is_remote(folder) else folder.absolute(), options
        # Trained weights compress by a twelfth, which takes several times as long as writing them.
        handler = ocp.PyTreeCheckpointHandler(use_compression=False)
        self._manager = _Manager(self.folder, options=options, item_handlers=handler)

    def steps(self) -> list[int]:
        """Steps completed in each checkpoint that is there, in rising order."""
        return sorted(self._manager.all_steps())

    def verify(self, step: int) -> str | None:
        """What is wrong with a checkpoint, or None. Reads all of it."""
        return verify(self.folder / str(step))

    def restore(self, step: int, like: Tree) -> Tree:
        """The state saved at a step, as arrays of the shapes, dtypes and shardings of `like`."""
        places = ocp.checkpoint_utils.construct_restore_args(like)
        return self._manager.restore(step, args=ocp.args.PyTreeRestore(like, restore_args=places))

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()


class WrittenCheckpoints(SavedCheckpoints):
    """Checkpoints to read and write.

    Attributes:
      failed: whether the newest save failed, so that it is worth trying again soon.
    """

    failed = False
    _being_written = 0  # the step

    def _write(self, step: int, state: Tree, metrics: dict[str, Any] | None = None) -> None:
        with self._noting_failure():
            if self.failed:
                self._reopen()
            self.failed, self._being_written = False, step
            saved = self._manager.save(step, args=ocp.args.PyTreeSave(state), metrics=metrics)
            if not saved and step not in self._manager.all_steps():
                raise RuntimeError(f"there is a later checkpoint than {step}, after which Orbax takes none")

    def _reopen(self) -> None:
        """Removes what is half-written; a manager whose save has failed cannot save again."""
        with contextlib.suppress(Exception):
            self._manager.close()
        self._open(self.folder, self._options)

    @contextlib.contextmanager
    def _noting_failure(self) -> Iterator[None]:
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
                write_manifest(folder, self._being_written)

        return ocp.CheckpointManagerOptions(
            cleanup_tmp_directories=True,  # what a killed run left half-written
            # Before the checkpoint gets its name.
            async_options=ocp.options.AsyncOptions(post_finalization_callback=finalize),
            **kept,
        )


class Checkpoints(WrittenCheckpoints):
    """The checkpoints of one workdir. Damaged ones newer than the newest sound one are set aside.

    Args:
      folder: where they lie; made if missing.
      keep: how many of the newest to keep.
      keep_every_steps: checkpoints of these multiples are kept for good.

    Raises:
      InputError: there are checkpoints, and all are damaged.
    """

    def __init__(self, folder: epath.PathLike, keep: int, keep_every_steps: int):
        folder = epath.Path(folder)
        if is_host0():
            damaged, sound = find_damaged(folder)
            if damaged and sound is None:
                reasons = "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
                raise InputError(
                    f"all checkpoints in {folder} are damaged ({reasons}): restore one from a copy, or start afresh"
                    " with another --workdir."
                )
            quarantine(folder, damaged)
        broadcast_from_host0(0)  # the others wait
        self._open(folder, self._writing_options(folder, max_to_keep=keep, keep_period=keep_every_steps))

    def newest_step(self) -> int | None:
        """Steps completed in the newest checkpoint, or None if there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: Tree) -> None:
        """Saves the state; returns once the devices' arrays are copied, the rest happens in the background.

        A failure is told and remembered in `failed`; what was saved before stays. With several processes it is
        raised: only all together could go on.
        """
        with self._noting_failure():
            self._manager.wait_until_finished()  # raises what went wrong with the one before
        self._write(step, state)

    def wait_until_saved(self, step: int, state: Tree) -> None:
        """Waits until the state just saved is on disk, and tries again if it is not.

        Raises:
          FailedError: it still is not.
        """
        for pause in PAUSES:
            self.look_for_failure(wait=True)
            if not self.failed:
                return
            time.sleep(pause)
            self.save(step, state)
        self.look_for_failure(wait=True)
        if self.failed:
            raise FailedError(
                f"the state of step {step:,} could not be saved into {self.folder}: make room and run the same again;"
                f" it goes on from step {self.newest_step() or 0:,}."
            )

    def look_for_failure(self, *, wait: bool = False) -> None:
        """Notes if the save in the background has failed; does not wait for it unless told."""
        if wait or not self._manager.is_saving_in_progress():
            with self._noting_failure():
                self._manager.wait_until_finished()


def save_once(folder: epath.Path, state: Tree) -> None:
    """Saves a state on its own, to be looked at; waits for it, and only tells if it fails."""
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
    """The one checkpoint with the best score so far; its score is saved with it, so a resumed run knows it.

    Args:
      folder: where it lies; made if missing.
      measure: what the score is; scores of another measure cannot be compared.
      lower_is_better: of the score.

    Raises:
      InputError: the checkpoint that is there was chosen by another measure.
    """

    def __init__(self, folder: epath.PathLike, measure: str, *, lower_is_better: bool):
        folder = epath.Path(folder)
        if is_host0():
            quarantine(folder, find_damaged(folder)[0])
        broadcast_from_host0(0)  # the others wait
        options = self._writing_options(folder, max_to_keep=1)
        options.best_fn, options.best_mode = (lambda saved: saved["score"]), ("min" if lower_is_better else "max")
        self._open(folder, options)
        self._measure, self._lower_is_better = measure, lower_is_better
        step = self._manager.best_step()
        if step is not None and self._manager.metrics(step)["measure"] != measure:
            raise InputError(
                f"the checkpoint in {folder} is the best by another measure ({self._manager.metrics(step)['measure']}):"
                " set eval.* back, or move that folder away."
            )

    def score(self) -> float | None:
        """Of the checkpoint that is there, or None."""
        step = self._manager.best_step()
        return None if step is None else float(self._manager.metrics(step)["score"])

    def save_if_better(self, step: int, state: Tree, score: float) -> bool:
        """Saves the state in place of the one before if its score is better; returns whether it did."""
        better = False
        with self._noting_failure():
            self._forget_the_future(step, score)
            best = self.score()
            better = best is None or (score < best if self._lower_is_better else score > best)
        if not broadcast_from_host0(better):
            return False
        self._write(step, state, {"score": score, "measure": self._measure})
        with self._noting_failure():
            self._manager.wait_until_finished()
        return not self.failed

    def _forget_the_future(self, step: int, score: float) -> None:
        """Removes a checkpoint that is later, or of this step with another score: a run that went back has no such."""
        best = self._manager.best_step()
        if best is not None and broadcast_from_host0(best > step or (best == step and self.score() != score)):
            self._manager.delete(best)
