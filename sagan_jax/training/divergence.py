"""What happens when a run diverges: it ends, or goes back to the newest checkpoint and on with other latents."""

import json

import jax
from ml_collections import ConfigDict

from sagan_jax.errors import DivergedError
from sagan_jax.runtime.processes import as_the_first, is_first
from sagan_jax.runtime.randomness import stream
from sagan_jax.runtime.timing import warn
from sagan_jax.runtime.writer import RunWriter

RECORD = "rollbacks.json"  # [{"step": gone back to, "reason": ...}, ...]
CHOICES = ("stop", "rollback")


class Rollbacks:
    """How often a run has gone back so far; its random numbers depend on it, so a record in the workdir keeps it.

    Args:
      writer: of the run.
      step: where the run is; what happened later, in a future that is gone, is forgotten.
    """

    def __init__(self, writer: RunWriter, step: int):
        self._writer, self._file = writer, writer.workdir / RECORD
        if is_first():
            self._past = [entry for entry in self._read() if entry["step"] <= step]
        self._count = as_the_first(len(self._past) if is_first() else 0)

    def key(self, seed: int) -> jax.Array:
        """The key of the steps from here on."""
        return stream(seed, f"train, {self._count} times gone back" if self._count else "train")

    def go_back(self, config: ConfigDict, error: DivergedError, step: int | None) -> None:
        """Counts one more, and says so. Raises the error, with what to do, if there are to be no more.

        Args:
          config: of the run.
          error: what happened.
          step: of the newest checkpoint, or None.
        """
        saved = "nothing was saved yet" if step is None else f"the newest checkpoint is that of step {step:,}"
        if config.faults.on_nan == "stop" or self._count >= config.faults.most_rollbacks:
            gone = f", after going back {self._count} times" if self._count else ""
            raise DivergedError(
                f"{error} ({saved}{gone}): start again in another --workdir with lower learning rates or"
                " model.compute_dtype=float32, or let it go back with faults.on_nan=rollback."
            ) from error
        self._count += 1
        warn(f"{error}; going back, time {self._count} of {config.faults.most_rollbacks} ({saved}), with other latents")
        if is_first():
            self._past.append({"step": step or 0, "reason": str(error)})
            self._writer.file(self._file, (json.dumps(self._past, indent=2) + "\n").encode())

    def _read(self) -> list[dict]:
        return json.loads(self._file.read_text()) if self._file.exists() else []
