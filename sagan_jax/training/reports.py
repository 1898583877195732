"""Metrics of a run on their way from the devices to files and people, and the check that it has not diverged."""

import math
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from sagan_jax.errors import DivergedError
from sagan_jax.runtime.timing import Progress, Throughput
from sagan_jax.runtime.writer import RunWriter
from sagan_jax.training.advice import Adviser
from sagan_jax.training.interval import IntervalMeans
from sagan_jax.training.optimizers import learning_rates
from sagan_jax.training.update import Metrics

SHOWN = ("d_loss", "g_loss", "d_accuracy", "real_logits", "fake_logits")  # on the terminal, with the gammas
# By these one knows that a network has diverged, in the order in which a step computes them. The discriminator sees
# real and generated images at once: where only the latter give no number, their generator is broken.
SIGNS = {
    "real_logits": "discriminator",
    "fake_logits": "generator",
    "d_loss": "discriminator",
    "d_gradient_norm": "discriminator",
    "g_loss": "generator",
    "g_gradient_norm": "generator",
}
SMALLEST = 1e-30  # gradient of D that another is divided by


class Reports:
    """Writes and shows mean metrics, one step late: fetching them waits for the devices, which have work by then.

    Args:
      writer: where they go.
      throughput, progress: of the run.
      adviser: looks at the metrics.
      config: of the run.
      notes: of the checkpoint that the run goes on from.
    """

    def __init__(
        self,
        writer: RunWriter,
        throughput: Throughput,
        progress: Progress,
        adviser: Adviser,
        config: ConfigDict,
        notes: Mapping[str, Any],
    ):
        self._writer, self._throughput, self._progress = writer, throughput, progress
        self._adviser, self._config = adviser, config
        self._signs: list[tuple[int, Metrics]] = []  # of steps not yet checked, still on the devices
        self._means = IntervalMeans(notes)
        self._waiting: tuple[int, int, Metrics, Mapping[str, float]] | None = None

    def note(self, step: int, steps: int, metrics: Metrics) -> None:
        """Keeps the mean metrics of the newest steps, up to `step`, without waiting for the devices."""
        self._signs.append((step, {name: metrics[name] for name in SIGNS}))
        self._means.add(steps, metrics)

    def end_interval(self, step: int, measured: Mapping[str, float], *, early: bool) -> None:
        """Leaves the means over the steps since the last interval for the next `flush`.

        Args:
          step: the last of them.
          measured: what else was measured after it.
          early: whether the run ends within an interval, and would go on with it if it were continued.
        """
        self._waiting = (step, *self._means.sums(), measured)
        if not early:
            self._means.begin()

    def notes(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps, so that the means do not depend on where a run was stopped."""
        return self._means.notes()

    def flush(self) -> None:
        """Writes and shows the interval that was ended, after a check. Raises DivergedError, see `check`."""
        if not self._waiting:
            return
        step, steps, sums, measured = self._waiting
        self._waiting = None
        self.check(step)
        values = {name: float(value) / steps for name, value in jax.device_get(sums).items()} | dict(measured)
        values["gradient_ratio"] = values["g_gradient_norm"] / max(values["d_gradient_norm"], SMALLEST)
        values |= learning_rates(self._config, step)
        self._adviser.look(step, values)
        speed = self._throughput.report()
        self._writer.write_scalars(step, values | speed)
        shown = {name: values[name] for name in SHOWN if name in values} | {
            k: v for k, v in values.items() if "gamma" in k
        }
        self._progress.report(step, shown, speed)

    def check(self, step: int) -> None:
        """Raises DivergedError if something noted up to a step is not finite or too large, naming where it began."""
        steps = [noted for noted, _ in self._signs if noted <= step]
        signs = jax.device_get([metrics for _, metrics in self._signs[: len(steps)]])
        self._signs = self._signs[len(steps) :]
        for noted, values in zip(steps, signs, strict=True):
            for name, network in SIGNS.items():
                value = float(values[name])
                if not math.isfinite(value) or (
                    name.endswith("loss") and abs(value) > self._config.faults.largest_loss
                ):
                    raise DivergedError(f"the {network} has diverged: {name} is {value:g} at step {noted:,}")
