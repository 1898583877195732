"""Checkpoints with Orbax: saved in the background, atomically; the newest, some milestones and the best are kept."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from sagan_jax.errors import InputError

Tree = Any


class SavedCheckpoints:
    """Checkpoints to read, each named by its number of completed steps; touches nothing, so a run may go on meanwhile.

    Args:
      folder: where they lie.
    """

    def __init__(self, folder: Path):
        self._open(folder, ocp.CheckpointManagerOptions(read_only=True, create=False))

    def _open(self, folder: Path, options: ocp.CheckpointManagerOptions) -> None:
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def steps(self) -> list[int]:
        """Steps completed in each checkpoint that is there, in rising order."""
        return sorted(self._manager.all_steps())

    def restore(self, step: int, like: Tree, sharding: jax.sharding.Sharding) -> Tree:
        """The state saved at a step, as arrays of the shapes and dtypes of `like`, laid out by `sharding`."""
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), like)
        return self._manager.restore(step, args=ocp.args.StandardRestore(abstract))

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()


class Checkpoints(SavedCheckpoints):
    """The checkpoints of one workdir, to read and write.

    Args:
      folder: where they lie; made if missing.
      keep: how many of the newest to keep.
      keep_every_steps: checkpoints of these multiples are kept for good.
    """

    def __init__(self, folder: Path, keep: int, keep_every_steps: int):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            keep_period=keep_every_steps,
            cleanup_tmp_directories=True,  # what a killed run left half-written
        )
        self._open(folder, options)

    def newest_step(self) -> int | None:
        """Steps completed in the newest checkpoint, or None if there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: Tree) -> None:
        """Saves the state; returns once the devices' arrays are copied, the rest happens in the background."""
        self._manager.save(step, args=ocp.args.StandardSave(state))


class BestCheckpoint(SavedCheckpoints):
    """The one checkpoint with the best score so far; its score is saved with it, so a resumed run knows it.

    Args:
      folder: where it lies; made if missing.
      measure: what the score is; scores of another measure cannot be compared.
      lower_is_better: of the score.

    Raises:
      InputError: the checkpoint that is there was chosen by another measure.
    """

    def __init__(self, folder: Path, measure: str, *, lower_is_better: bool):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1,
            best_fn=lambda saved: saved["score"],
            best_mode="min" if lower_is_better else "max",
            cleanup_tmp_directories=True,
        )
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
        """Saves the state in place of the one before if its score is better; returns whether it is."""
        best = self.score()
        if best is not None and not (score < best if self._lower_is_better else score > best):
            return False
        self._manager.save(step, args=ocp.args.StandardSave(state), metrics={"score": score, "measure": self._measure})
        self._manager.wait_until_finished()
        return True
