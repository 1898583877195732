"""What happens when a run diverges: it ends, or goes back to the newest checkpoint and on with other latents."""

import json
from typing import TypedDict

import jax
import jax.numpy as jnp
from etils import epath
from ml_collections import ConfigDict

from sagan_jax.errors import DivergedError
from sagan_jax.runtime.documents import Count, Text, read_document
from sagan_jax.runtime.processes import broadcast_from_host0, is_host0
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.timing import warn
from sagan_jax.runtime.workdir import ROLLBACKS_FILE, write_or_warn
from sagan_jax.training.state import TrainState, Tree

CHOICES = ("stop", "rollback")
REMEDY = "restore it, or start afresh with another --workdir"


class Rollback(TypedDict):
    """A row of ROLLBACKS_FILE: the step that a run has gone back to, and why."""

    step: Count
    reason: Text


def check_weights(step: int, state: TrainState) -> None:
    """Raises DivergedError if the state of a network is of no use, naming it; to be called before a save.

    The metrics of a step are those from before its update, so they alone would let a broken state be saved.
    """
    for network, usable in jax.device_get(_usable(state)).items():
        if not usable:
            raise DivergedError(f"the {network} has diverged: its weights are infinite or too large at step {step:,}")


@jax.jit
def _usable(state: TrainState) -> dict[str, jax.Array]:
    """Returns whether the arrays of each network are finite, and their norms too, which the next step computes."""

    def usable(tree: Tree) -> jax.Array:
        squares = [jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(tree)]
        return jnp.all(jnp.isfinite(jnp.stack(squares)))

    return {"generator": usable((state.generator, state.ema_params)), "discriminator": usable(state.discriminator)}


class Rollbacks:
    """How often a run has gone back so far; its random numbers depend on it, so a record in the workdir keeps it.

    Args:
      workdir: of the run.
      saved: step of the newest checkpoint, or None. What happened later, in a future that is gone, is forgotten, and so
        is what belongs to an attempt of which nothing was saved.
    """

    def __init__(self, workdir: epath.Path, saved: int | None):
        self._file = workdir / ROLLBACKS_FILE
        if is_host0():
            found = read_document(self._file, list[Rollback], REMEDY) if self._file.exists() else []
            self._past = [entry for entry in found if saved is not None and entry["step"] <= saved]
            if self._past != found:
                self._write()
        self._count = broadcast_from_host0(len(self._past) if is_host0() else 0)

    def key(self, seed: int) -> jax.Array:
        """Returns the key of the steps from here on."""
        return stream_key(seed, f"train, {self._count} times gone back" if self._count else "train")

    def check(self, config: ConfigDict, error: DivergedError, step: int | None) -> None:
        """Raises the error, with what to do, if the run is not to go back, or not once more.

        Args:
          config: of the run.
          error: what happened.
          step: of the checkpoint to go back to, or None.
        """
        stopping = config.faults.on_nan == "stop"
        if stopping or self._count >= config.faults.most_rollbacks:
            gone = f", after going back {self._count} times" if self._count else ""
            back = ", or let it go back with faults.on_nan=rollback" if stopping else ""
            raise DivergedError(
                f"{error} ({_saved(step)}{gone}): start again in another --workdir with lower learning rates or"
                f" model.compute_dtype=float32{back}."
            ) from error

    def go_back(self, config: ConfigDict, error: DivergedError, step: int | None) -> None:
        """Counts one more, and says so; arguments as for `check`, which comes before."""
        self._count += 1
        most = config.faults.most_rollbacks
        warn(f"{error}; going back, time {self._count} of {most} ({_saved(step)}), with other latents")
        if is_host0():
            self._past.append({"step": step or 0, "reason": str(error)})
            self._write()

    def _write(self) -> None:
        write_or_warn(self._file, (json.dumps(self._past, indent=2) + "\n").encode())


def _saved(step: int | None) -> str:
    return "nothing was saved yet" if step is None else f"the newest checkpoint is that of step {step:,}"
