"""Means of the metrics over the steps between two reports, the same in a run that was stopped in between."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from sagan_jax.training.update import Metrics

NOTES = "interval"  # their name among the notes of a checkpoint


class IntervalMeans:
    """Adds up metrics on the devices, without waiting for them.

    Args:
      notes: of the checkpoint that a run goes on from, which may lie between two reports; empty for a fresh one.
    """

    def __init__(self, notes: Mapping[str, Any]):
        found = notes.get(NOTES) or {}
        self._steps, self._sums = int(found.get("steps", 0)), _as_arrays(found.get("sums", {}))

    def add(self, steps: int, metrics: Metrics) -> None:
        """Adds the mean metrics of so many steps."""
        if self._sums.keys() != metrics.keys():  # the first of an interval
            self._steps, self._sums = 0, _as_arrays(dict.fromkeys(metrics, 0.0))
        self._steps, self._sums = self._steps + steps, _add(self._sums, metrics, np.float32(steps))

    def sums(self) -> tuple[int, Metrics]:
        """Returns the number of steps so far and the sums of their metrics."""
        return self._steps, self._sums

    def begin(self) -> None:
        """Begins the next interval."""
        self._steps, self._sums = 0, {}

    def notes(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps; waits for the devices."""
        sums = {name: float(value) for name, value in jax.device_get(self._sums).items()}
        return {NOTES: {"steps": self._steps, "sums": sums}}


@jax.jit
def _add(sums: Metrics, metrics: Metrics, steps: jax.Array) -> Metrics:
    return {name: sums[name] + steps * value for name, value in metrics.items()}


def _as_arrays(numbers: Mapping[str, float]) -> dict[str, Any]:
    return {name: np.float32(number) for name, number in numbers.items()}
