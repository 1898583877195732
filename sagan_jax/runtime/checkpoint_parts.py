"""Reads some arrays of a checkpoint, such as weights without the optimisers' state."""

import logging

import orbax.checkpoint as ocp
from absl.logging import get_absl_logger
from etils import epath

from sagan_jax.runtime.checkpoint import SavedCheckpoints, Tree

READ_ONLY = ("CheckpointManagerOptions.read_only", "Given directory is read only")


class CheckpointParts(SavedCheckpoints):
    """Saved checkpoints of which only parts are read; arguments as for `SavedCheckpoints`."""

    def __init__(self, folder: epath.PathLike):
        get_absl_logger().addFilter(_is_worth_printing)
        super().__init__(folder)

    def shapes(self, step: int) -> Tree:
        """Returns the arrays of a checkpoint as nested dicts, with shapes and dtypes but without values."""
        return self._manager.item_metadata(step).tree

    def restore_part(self, step: int, like: Tree) -> Tree:
        """Returns the arrays that `like`, nested dicts, has, with its dtypes and shardings.

        Arrays that the checkpoint does not have are not noticed: compare with `shapes` first.
        """
        places = ocp.checkpoint_utils.construct_restore_args(like)
        args = ocp.args.PyTreeRestore(like, restore_args=places, partial_restore=True)
        return self._manager.restore(step, args=args)


def _is_worth_printing(record: logging.LogRecord) -> bool:
    """Drops Orbax's warnings that a folder is opened to be read only."""
    return not str(record.msg).startswith(READ_ONLY)
