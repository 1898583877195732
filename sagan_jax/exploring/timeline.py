"""What a run has left of its training: a sample sheet now and then, and how gamma went."""

import math
from typing import NamedTuple

from etils import epath

from sagan_jax.runtime.workdir import SAMPLES, read_metrics


class Timeline(NamedTuple):
    """Moments of a training that can be shown.

    Attributes:
      sheets: files of sample sheets by completed steps, in rising order.
      gammas: the gammas by step, by the names of their metrics.
    """

    sheets: dict[int, epath.Path]
    gammas: dict[int, dict[str, float]]

    def gammas_at(self, step: int) -> dict[str, float]:
        """The newest gammas up to a step."""
        known = [at for at in self.gammas if at <= step]
        return self.gammas[max(known)] if known else {}


def read_timeline(workdir: epath.Path) -> Timeline:
    """Of a run's folder; what is missing or damaged is left out."""
    folder = workdir / SAMPLES
    found = sorted(folder.glob("*.png")) if folder.is_dir() else []
    sheets = {int(path.stem): path for path in found if path.stem.isdecimal()}
    gammas = {}
    for row in read_metrics(workdir):
        try:
            found_here = {name: float(value) for name, value in row.items() if "gamma" in name}
            if values := {name: value for name, value in found_here.items() if math.isfinite(value)}:
                gammas[row["step"]] = values
        except (ValueError, TypeError):
            continue
    return Timeline(sheets, gammas)
