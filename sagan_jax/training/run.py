"""What stays the same while a run's state moves, and how the state is kept."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from etils import epath
from ml_collections import ConfigDict

from sagan_jax.data.residency import Feed
from sagan_jax.data.source import ImageSource, ImageStream
from sagan_jax.errors import DivergedError, InputError
from sagan_jax.evaluation.record import Evaluation
from sagan_jax.runtime.checkpoint import Checkpoints, save_once
from sagan_jax.runtime.lock import lock_is_gone, workdir_lock
from sagan_jax.runtime.processes import is_host0
from sagan_jax.runtime.storage import describe_error
from sagan_jax.runtime.timing import warn
from sagan_jax.runtime.workdir import DIVERGED, step_name
from sagan_jax.runtime.writer import RunWriter
from sagan_jax.sampling.sampler import Sampler
from sagan_jax.training.advice import Adviser
from sagan_jax.training.continuation import settings_are_there, write_settings
from sagan_jax.training.evaluation import Evaluator
from sagan_jax.training.gallery import Gallery
from sagan_jax.training.signals import Signals
from sagan_jax.training.state import TrainState
from sagan_jax.training.step_config import TrainStepConfig


class Summary(NamedTuple):
    """What a finished run has made.

    Attributes:
      step: completed steps.
      workdir: its folder.
      samples, attention: its last pictures.
      evaluation: scores and protocol; None where `eval.features` is empty.
    """

    step: int
    workdir: epath.Path
    samples: epath.Path
    attention: epath.Path
    evaluation: Evaluation | None


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays the same while a run's state moves; `config.model.num_classes` is known here.

    `locks` are those taken anew on a folder that was deleted.
    """

    config: ConfigDict
    folder: epath.Path
    source: ImageSource | ImageStream
    feed: Feed
    step_config: TrainStepConfig
    checkpoints: Checkpoints
    sampler: Sampler
    gallery: Gallery
    signals: Signals
    adviser: Adviser
    evaluator: Evaluator | None
    writer: RunWriter
    locks: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    def save(
        self, step: int, state: TrainState, notes: Mapping[str, Any] | None = None, *, wait: bool, stop: bool = False
    ) -> None:
        """Saves the state; makes the folder anew if somebody has deleted it.

        Args:
          step, state, notes, stop: see `Checkpoints.save`.
          wait: wait until it is saved, and try again if that fails. Raises FailedError if it still does.

        Raises:
          InputError: the folder was deleted, and another run has begun in its place.
        """
        if is_host0():
            self._keep_folder()
        self.writer.flush()
        self.checkpoints.save(step, state, notes, stop=stop)
        if wait:
            self.checkpoints.wait_until_saved(step, state, notes, stop=stop)

    def notes(self, step: int) -> dict[str, Any]:
        """Returns what the checkpoint of a step was saved with; empty where there is none."""
        return self.checkpoints.notes(step) if self.checkpoints.newest_step() == step else {}

    def _keep_folder(self) -> None:
        try:
            deleted = not settings_are_there(self.folder)
            if deleted:
                warn(f"{self.folder} was deleted: it is made anew and the run goes on; what it held is gone")
                self.folder.mkdir(parents=True, exist_ok=True)
            if lock_is_gone(self.folder):
                self.locks.enter_context(workdir_lock(self.folder))
            if deleted:
                write_settings(self.config, self.source, self.folder)
        except InputError:
            raise
        except Exception as error:  # a bucket has its own kinds
            warn(f"{self.folder} cannot be used ({describe_error(error)}): the run goes on and tries again")

    @contextlib.contextmanager
    def save_if_diverged(self, step: int, state: TrainState) -> Iterator[None]:
        """Saves the state in the folder `DIVERGED`, to be inspected, where its context raises DivergedError."""
        try:
            yield
        except DivergedError:
            save_once(self.folder / DIVERGED / step_name(step), state)
            raise

    def close(self) -> None:
        """Waits until everything is saved and written."""
        self.checkpoints.close()
        if self.evaluator:
            self.evaluator.close()
        self.writer.close()
        self.locks.close()
