"""Reads checkpoints that Orbax has written, whole or in part, and checks that they have the arrays that are wanted."""

import logging
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl.logging import get_absl_logger
from etils import epath

from sagan_jax.errors import InputError
from sagan_jax.runtime.checkpoint_manifest import verify
from sagan_jax.runtime.storage import is_remote

Tree = Any
SHOWN = 3  # differences in a message
# Of smaller arrays one device saves all: to save its share each compiles a program for every shape.
SMALLEST_SHARE = 2**20  # bytes
READ_ONLY = ("CheckpointManagerOptions.read_only", "Given directory is read only")  # warnings of Orbax


def _is_worth_printing(record: logging.LogRecord) -> bool:
    """Drops Orbax's warnings that a folder is opened to be read only."""
    return not str(record.msg).startswith(READ_ONLY)


class Manager(ocp.CheckpointManager):
    """Orbax's manager without its preemption check, which would compete with that of `StopRequest` and lose stops."""

    def reached_preemption(self, step: int) -> bool:
        return False

    def metrics(self, step: int) -> dict[str, Any] | None:
        """Returns the notes that a checkpoint was saved with; None where it has none, or they are damaged."""
        try:
            notes = super().metrics(step)
        except ValueError:  # seen in an older checkpoint, which nobody has compared with its manifest
            return None
        return notes if isinstance(notes, dict) else None


class SavedCheckpoints:
    """Reads checkpoints, named by their completed steps, and changes nothing, so a run may be writing meanwhile.

    Args:
      folder: of the checkpoints.
    """

    def __init__(self, folder: epath.PathLike):
        get_absl_logger().addFilter(_is_worth_printing)
        self._open(epath.Path(folder), ocp.CheckpointManagerOptions(read_only=True, create=False))

    def _open(self, folder: epath.Path, options: ocp.CheckpointManagerOptions) -> None:
        self.folder, self._options = folder if is_remote(folder) else folder.absolute(), options
        # Trained weights compress by a twelfth, which takes several times as long as writing them.
        handler = ocp.PyTreeCheckpointHandler(use_compression=False, type_handler_registry=_type_handlers())
        self._manager = Manager(self.folder, options=options, item_handlers=handler)

    def steps(self) -> list[int]:
        """Returns the completed steps of all checkpoints, in rising order."""
        return sorted(self._manager.all_steps())

    def verify(self, step: int) -> str | None:
        """Reads a whole checkpoint and returns what is damaged in it, or None."""
        return verify(self.folder / str(step))

    def has_arrays(self, step: int, *path: str) -> bool:
        """Returns whether a part of the state saved at a step, by the names on the way to it, has arrays."""
        part = self._manager.item_metadata(step).tree
        for name in path:
            part = part.get(name, {})
        return bool(jax.tree.leaves(part))

    def restore(self, step: int, like: Tree, *, partial: bool = False) -> Tree:
        """Returns the state saved at a step, as arrays with the shapes, dtypes and shardings of `like`.

        Args:
          step: of the checkpoint.
          like: arrays, or what stands for them; where `partial`, nested dicts of those that are wanted.
          partial: whether the checkpoint has more arrays, which are not read.

        Raises:
          InputError: the checkpoint does not have these arrays.
        """
        saved = self._manager.item_metadata(step).tree
        check_arrays(saved, like, f"checkpoint {step} of {self.folder.parent}", partial=partial)
        places = ocp.checkpoint_utils.construct_restore_args(like)
        # Orbax itself would also refuse a part of the state without arrays that the checkpoint does not name.
        args = ocp.args.PyTreeRestore(like, restore_args=places, partial_restore=True)
        return self._manager.restore(step, args=args)

    def close(self) -> None:
        """Waits until everything is on disk, and closes the manager."""
        self._manager.wait_until_finished()
        self._manager.close()


def _type_handlers() -> ocp.type_handlers.TypeHandlerRegistry:
    arrays = ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=SMALLEST_SHARE)
    return ocp.type_handlers.create_type_handler_registry(
        (jax.Array, arrays), (np.ndarray, ocp.type_handlers.NumpyHandler())
    )


def check_arrays(saved: Tree, like: Tree, checkpoint: str, *, partial: bool) -> None:
    """Raises InputError, naming some arrays, unless a checkpoint has the arrays that are expected.

    Args:
      saved: arrays of the checkpoint, or what stands for them with a shape and a dtype.
      like: what is expected, likewise.
      checkpoint: its name, for the message.
      partial: whether the checkpoint may have more arrays.
    """
    found, expected = _kinds(saved), _kinds(like)
    differences = [f"no {name}" for name in expected.keys() - found.keys()]
    if not partial:
        differences += [f"unknown {name}" for name in found.keys() - expected.keys()]
    differences += [
        f"{name} {found[name]} in place of {expected[name]}"
        for name in found.keys() & expected.keys()
        if found[name] != expected[name]
    ]
    if differences:
        more = f", and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        shown = ", ".join(sorted(differences)[:SHOWN])
        raise InputError(
            f"the arrays in {checkpoint} are not those of the networks ({shown}{more}): pass the modules that it was"
            " trained with as networks=, set the fields of config.model back, or start a new run in another workdir."
        )


def _kinds(tree: Tree) -> dict[str, str]:
    """Returns shapes, and dtypes where they are not float32, by the names of arrays."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): _kind(leaf) for path, leaf in leaves}


def _kind(array: Any) -> str:
    dtype = getattr(array, "dtype", None)
    of = f" of {dtype}" if dtype is not None and dtype != np.float32 else ""
    return f"{list(array.shape)}{of}"
