"""Which checkpoints of a run are kept: the newest regular ones, some for good, and that of a stop until the next."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from orbax.checkpoint.checkpoint_managers import PolicyCheckpointInfo, PreservationContext, PreservationPolicy

STOP = "stop"  # in the notes of a checkpoint: whether it was saved only because the run was stopped there


def is_regular(notes: Mapping[str, Any] | None) -> bool:
    """Returns whether a checkpoint with such notes is one that an undisturbed run has too; those without notes are."""
    return not (notes or {}).get(STOP, False)


@dataclasses.dataclass(frozen=True)
class KeepRegular(PreservationPolicy):
    """Keeps a checkpoint that was saved for a stop only while it is the newest of all.

    So stops never take the place of regular checkpoints, and those that are left do not depend on stops.

    Attributes:
      newest: number of regular checkpoints that are kept.
      every_steps: regular ones at multiples of it are kept for good.
    """

    newest: int
    every_steps: int

    def should_preserve(
        self, checkpoints: Sequence[PolicyCheckpointInfo], *, context: PreservationContext
    ) -> Sequence[bool]:
        """Returns for each of the checkpoints, in rising order of steps, whether it is kept."""
        regular = [info.step for info in checkpoints if is_regular(info.metrics)]
        kept = {step for step in regular if step % self.every_steps == 0} | set(regular[-self.newest :])
        return [info.step in kept or info is checkpoints[-1] for info in checkpoints]
