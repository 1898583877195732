"""A moment of a training as HTML: its samples, and how gamma went until then and afterwards."""

import base64
import html
import re

from sagan_jax.exploring.timeline import Timeline
from sagan_jax.exploring.wording import signed

WIDTH, HEIGHT = 400, 150  # of the curves, in units of their SVG
MOST_MOMENTS = 300  # of a curve
COLORS = ("#2b2a27", "#c2410c", "#0072b2", "#009e73", "#cc79a7", "#e69f00")
NETWORKS = {"g": "Generator", "d": "Discriminator"}


def moment_html(timeline: Timeline, step: int) -> str:
    """The sample sheet of a step, and the curves of the gammas with that step marked."""
    data = base64.b64encode(timeline.sheets[step].read_bytes()).decode()
    sheet = f'<img alt="samples after {step:,} steps" src="data:image/png;base64,{data}">'
    return f'<div class="moment"><figure>{sheet}</figure>{_gammas(timeline, step)}</div>'


def gamma_name(metric: str) -> str:
    """Of a metric such as g_gamma_8: "Generator 8×8"; others keep their names."""
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
    steps = steps[:: -(-len(steps) // MOST_MOMENTS)]
    values = [value for moment in timeline.gammas.values() for value in moment.values()]
    least, most = min(0.0, *values), max(0.0, *values)
    last = max(1, *timeline.gammas, *timeline.sheets)

    def place(at: int, value: float) -> tuple[float, float]:
        return WIDTH * at / last, 6 + (HEIGHT - 12) * (most - value) / ((most - least) or 1)

    lines = []
    for index, name in enumerate(names):
        known = [place(at, timeline.gammas[at][name]) for at in steps if name in timeline.gammas[at]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in known)
        lines.append(f'<polyline points="{path}" stroke="{COLORS[index % len(COLORS)]}"/>')
    now, zero = place(step, 0.0)
    axes = (
        f'<path class="axis" d="M0 {zero:.1f}H{WIDTH}"/><text x="4" y="{zero - 4:.1f}">0</text>'
        f'<path class="now" d="M{now:.1f} 0V{HEIGHT}"/>'
    )
    return (
        f'<svg class="curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="gamma over the steps">'
        f'{axes}{"".join(lines)}</svg><p class="ends"><span>step 0</span><span>{last:,}</span></p>'
    )
