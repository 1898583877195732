"""The time line of a training, sample sheets and gammas: read from a run's folder, and a moment of it as HTML."""

import base64
import html
import math
import re
from typing import NamedTuple

from etils import epath

from sagan_jax.runtime.workdir import SAMPLES, read_metrics
from sagan_jax.sampling.numbers import signed

WIDTH, HEIGHT = 400, 150  # of the curves, in units of their SVG
MAX_CURVE_STEPS = 300  # of a curve
COLORS = ("var(--ink)", "#c2410c", "#0072b2", "#009e73", "#cc79a7", "#e69f00")
NETWORKS = {"g": "Generator", "d": "Discriminator"}


class Timeline(NamedTuple):
    """The moments of a training that can be shown.

    Attributes:
      sheets: files of sample sheets by completed steps, in rising order.
      gammas: values of gamma by step and name of the metric.
    """

    sheets: dict[int, epath.Path]
    gammas: dict[int, dict[str, float]]

    def gammas_at(self, step: int) -> dict[str, float]:
        """Returns the newest gammas up to a step."""
        known = [at for at in self.gammas if at <= step]
        return self.gammas[max(known)] if known else {}


def read_timeline(workdir: epath.Path) -> Timeline:
    """Reads the time line of a run's folder; leaves out what is missing or damaged."""
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


def moment_html(timeline: Timeline, step: int) -> str:
    """Draws the sample sheet of a step, and the curves of the gammas with that step marked."""
    data = base64.b64encode(timeline.sheets[step].read_bytes()).decode()
    sheet = f'<img alt="samples after {step:,} steps" src="data:image/png;base64,{data}">'
    opens = f'<button class="sheet" type="button" title="show it large">{sheet}</button>'
    return f'<div class="moment"><figure>{opens}</figure>{_gammas(timeline, step)}</div>'


def gamma_name(metric: str) -> str:
    """Returns "Generator 8×8" for a metric such as g_gamma_8; other names stay."""
    found = re.fullmatch(r"([gd])_gamma_((?:[a-z]+_)*)(\d+)", metric)
    if not found:
        return metric
    network, kind, side = found.groups()
    return " ".join([NETWORKS[network], *kind.split("_")[:-1], f"{side}×{side}"])


def _gammas(timeline: Timeline, step: int) -> str:
    names = sorted({name for values in timeline.gammas.values() for name in values}, reverse=True)
    if not names:
        return ""
    now = timeline.gammas_at(step)
    rows = "".join(
        f'<li style="--curve:{COLORS[index % len(COLORS)]}">{html.escape(gamma_name(name))} '
        f"<b>{signed(now[name], 3) if name in now else '–'}</b></li>"
        for index, name in enumerate(names)
    )
    return f"<div><h4>γ while training, after {step:,} steps</h4><ul>{rows}</ul>{_svg(timeline, names, step)}</div>"


def _svg(timeline: Timeline, names: list[str], step: int) -> str:
    steps = sorted(timeline.gammas)
    steps = steps[:: -(-len(steps) // MAX_CURVE_STEPS)]
    values = [value for moment in timeline.gammas.values() for value in moment.values()]
    lowest, highest = min(0.0, *values), max(0.0, *values)
    last = max(1, *timeline.gammas, *timeline.sheets)

    def place(at: int, value: float) -> tuple[float, float]:
        return WIDTH * at / last, 6 + (HEIGHT - 12) * (highest - value) / ((highest - lowest) or 1)

    lines = []
    for index, name in enumerate(names):
        known = [place(at, timeline.gammas[at][name]) for at in steps if name in timeline.gammas[at]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in known)
        lines.append(f'<polyline points="{path}" style="stroke:{COLORS[index % len(COLORS)]}"/>')
    now, zero = place(step, 0.0)
    axes = (
        f'<path class="axis" d="M0 {zero:.1f}H{WIDTH}"/><text x="4" y="{zero - 4:.1f}">0</text>'
        f'<path class="now" d="M{now:.1f} 0V{HEIGHT}"/>'
    )
    return (
        f'<svg class="curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="gamma over the steps">'
        f'{axes}{"".join(lines)}</svg><p class="ends"><span>step 0</span><span>{last:,}</span></p>'
    )
