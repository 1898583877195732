"""Checkpoints with Orbax: saved in the background, atomically; the newest ones and some milestones are kept."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

Tree = Any


class Checkpoints:
    """The checkpoints of one workdir, each named by its number of completed steps.

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
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def newest_step(self) -> int | None:
        """Steps completed in the newest checkpoint, or None if there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: Tree) -> None:
        """Saves the state; returns once the devices' arrays are copied, the rest happens in the background."""
        self._manager.save(step, args=ocp.args.StandardSave(state))

    def restore(self, step: int, like: Tree, sharding: jax.sharding.Sharding) -> Tree:
        """The state saved at a step, as arrays of the shapes and dtypes of `like`, laid out by `sharding`."""
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), like)
        return self._manager.restore(step, args=ocp.args.StandardRestore(abstract))

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()
