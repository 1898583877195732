"""Draws the metrics of a run as curves, in SVG."""

import io
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator


class Panel(NamedTuple):
    """What a panel shows.

    Attributes:
      pattern: of the names of its metrics.
      logarithmic: whether its scale is.
      begin: what its axis reaches down to at least, or None.
      end: what it reaches up to at least, or None.
      marks: values at which a line says something, with the words.
    """

    pattern: str
    logarithmic: bool = False
    begin: float | None = None
    end: float | None = None
    marks: tuple[tuple[float, str], ...] = ()


ENTROPY = "entropy of attention, nats"
PANELS = {
    "losses": Panel(r"[dg]_loss", marks=((0, ""),)),
    "logits": Panel(r"(real|fake)_logits", marks=((0, "above: taken for real"),)),
    "discriminator's accuracy": Panel(
        r"d_(real_)?accuracy(_training|_held_out)?", begin=0, end=1, marks=((0.5, "guessing"),)
    ),
    "spread of samples within a class": Panel("sample_spread", begin=0, marks=((1, "as real images"),)),
    "probability of augmentation": Panel("augmentation_probability", begin=0, end=1),
    "penalties": Panel(r"[dg]_(r1|r2|gradient_penalty|lecam|bcr|zcr_[dg]|orthogonality)"),
    "attention gammas": Panel(r"[dg]_gamma_.*", marks=((0, "off"),)),
    ENTROPY: Panel(r"[dg]_entropy_.*", begin=0),
    "mean distance of attention, pixels": Panel(r"[dg]_distance_.*", begin=0),
    "gradient norms, and G's beside D's": Panel(r"[dg]_gradient_norm|gradient_ratio", logarithmic=True),
    "learning rates": Panel(r"[dg]_learning_rate", logarithmic=True),
    "largest singular values": Panel(r"[dg]_sigma_max", logarithmic=True, marks=((1, ""),)),
    "images per second": Panel(r"images_per_s", begin=0),
}
SCORE, FRACTION = Panel(r"eval/.*", begin=0), Panel(r".*(precision|recall|coverage|accuracy)", begin=0, end=1)
HEADROOM = 1.1  # of a panel's height, above what is highest
ROUNDING = 1e-3  # of entropies in float32
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # Okabe-Ito

Rows = list[dict[str, float]]


class Curve(NamedTuple):
    """One metric at the steps at which it was written."""

    name: str
    steps: list[float]
    values: list[float]


def panels(rows: Rows) -> Iterator[tuple[str, str]]:
    """Yields title and SVG of each panel for which there are metrics, then of each score of repeated evaluations.

    Args:
      rows: of metrics.jsonl, each with "step".
    """
    names = sorted({name for row in rows for name in row})
    for title, panel in PANELS.items():
        curves = [_curve(rows, name) for name in names if re.fullmatch(panel.pattern, name)]
        if curves:
            yield title, _svg(curves, panel._replace(marks=_even_attention(curves)) if title == ENTROPY else panel)
    for name in names:
        if name.startswith("eval/") and name != "eval/fraction_of_time":
            curve = _curve(rows, name)
            if len(curve.steps) > 1:
                panel = FRACTION if re.fullmatch(FRACTION.pattern, name) else SCORE
                yield name.removeprefix("eval/").replace("_", " "), _svg([curve], panel)


def _curve(rows: Rows, name: str) -> Curve:
    points = [(row["step"], row[name]) for row in rows if name in row]
    return Curve(name, [step for step, _ in points], [value for _, value in points])


def _even_attention(curves: list[Curve]) -> tuple[tuple[float, str], ...]:
    """Returns the entropy of even attention for each side of a layer; its keys are pooled to half of the side."""
    marks = {}
    for curve in curves:
        side = int(curve.name.rpartition("_")[2])
        pooled = math.log(max(1, (side // 2) ** 2))
        marks[side] = pooled if max(curve.values) <= pooled + ROUNDING else math.log(side**2)
    return tuple((entropy, f"even at {side}×{side}") for side, entropy in marks.items())


def _svg(curves: list[Curve], panel: Panel) -> str:
    figure, axes = plt.subplots(figsize=(4.2, 2.3), layout="constrained")
    for curve, color in zip(curves, [*COLORS, *["#777777"] * len(curves)], strict=False):
        marker: dict[str, Any] = {"marker": "o", "markersize": 3} if len(curve.steps) < 12 else {}
        axes.plot(curve.steps, curve.values, color=color, linewidth=1.2, label=curve.name, **marker)
    for value, words in panel.marks:
        axes.axhline(value, color="#555555", linewidth=0.9, linestyle=(0, (4, 3)), label=words or None)
    _set_scales(axes, curves, panel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, which="both")
    axes.set_xlabel("step", fontsize=8)
    axes.grid(alpha=0.25)
    if len(curves) > 1 or any(words for _, words in panel.marks):
        axes.legend(fontsize=7, frameon=False)
    buffer = io.StringIO()
    # Without the date, and with fixed identifiers, two reports of the same run are the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "sagan_jax"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return buffer.getvalue().partition("<svg")[2].join(("<svg", ""))


def _set_scales(axes: Axes, curves: list[Curve], panel: Panel) -> None:
    """Lets both axes begin, and the upright one end, where that means something; writes numbers as people do."""
    numbers = FuncFormatter(lambda number, _: f"{number:,g}")
    if panel.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(numbers)
    axes.yaxis.set_major_formatter(numbers)
    axes.set_xlim(left=0)
    values = [value for curve in curves for value in curve.values]
    if panel.begin is not None and min(values) >= panel.begin:
        height = max(values + [at for at, _ in panel.marks]) - panel.begin
        axes.set_ylim(panel.begin, panel.begin + HEADROOM * height if height else None)
    if panel.end is not None and max(values) <= panel.end:
        axes.set_ylim(top=panel.end)
