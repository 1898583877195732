"""Draws the metrics of a run as curves, in SVG."""

import io
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import matplotlib
import matplotlib.pyplot as plt

# By title of a panel: a pattern of the metrics in it, and whether its scale is logarithmic.
PANELS = {
    "losses": (r"[dg]_loss", False),
    "logits": (r"(real|fake)_logits", False),
    "discriminator's accuracy": (r"d_accuracy", False),
    "attention gammas": (r"[dg]_gamma_.*", False),
    "entropy of attention, nats": (r"[dg]_entropy_.*", False),
    "mean distance of attention, pixels": (r"[dg]_distance_.*", False),
    "gradient norms": (r"[dg]_gradient_norm", True),
    "largest singular values": (r"[dg]_sigma_max", True),
    "images per second": (r"images_per_s", False),
}
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
    for title, (pattern, logarithmic) in PANELS.items():
        curves = [_curve(rows, name) for name in names if re.fullmatch(pattern, name)]
        if curves:
            yield title, _svg(curves, logarithmic)
    for name in names:
        if name.startswith("eval/") and name != "eval/fraction_of_time":
            curve = _curve(rows, name)
            if len(curve.steps) > 1:
                yield name.removeprefix("eval/").replace("_", " "), _svg([curve], logarithmic=False)


def _curve(rows: Rows, name: str) -> Curve:
    points = [(row["step"], row[name]) for row in rows if name in row]
    return Curve(name, [step for step, _ in points], [value for _, value in points])


def _svg(curves: list[Curve], logarithmic: bool) -> str:
    figure, axes = plt.subplots(figsize=(4.2, 2.3), layout="constrained")
    for curve, color in zip(curves, [*COLORS, *["#777777"] * len(curves)], strict=False):
        marker: dict[str, Any] = {"marker": "o", "markersize": 3} if len(curve.steps) < 12 else {}
        axes.plot(curve.steps, curve.values, color=color, linewidth=1.2, label=curve.name, **marker)
    if logarithmic:
        axes.set_yscale("log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("step", fontsize=8)
    axes.grid(alpha=0.25)
    if len(curves) > 1:
        axes.legend(fontsize=7, frameon=False)
    buffer = io.StringIO()
    # Without the date, and with fixed identifiers, two reports of the same run are the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "sagan_jax"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return buffer.getvalue().partition("<svg")[2].join(("<svg", ""))
