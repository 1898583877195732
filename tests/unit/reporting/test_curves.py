"""Axes of curves."""

import math

import matplotlib.pyplot as plt
import pytest

from sagan_jax.reporting.curves import panels


@pytest.mark.parametrize(
    ("name", "values", "limits", "words"),
    [
        ("g_entropy_16", (4.1, 3.9), (0, 1.1 * math.log(64)), "even at 16×16"),
        ("d_distance_8", (8, 9), (0, 9.9), ""),
        ("d_accuracy", (0.6, 0.7), (0, 1), "guessing"),
        ("g_gamma_8", (0.5, 0.6), None, "off"),
        ("images_per_s", (900, 1000), (0, 1100), ""),
        ("eval/frechet", (30, 20), (0, 33), ""),
        ("eval/coverage", (0.5, 0.6), (0, 1), ""),
        ("eval/kernel", (-0.1, 0.1), None, ""),
    ],
)
def test_axes_of_curves_begin_where_that_means_something(monkeypatch, name, values, limits, words):
    made, subplots = [], plt.subplots
    monkeypatch.setattr(plt, "subplots", lambda **options: made.append(subplots(**options)) or made[-1])
    [(_, svg)] = panels([{"step": step, name: value} for step, value in zip((1000, 2000), values, strict=True)])
    axes = made[0][1]
    assert axes.get_xlim()[0] == 0
    if limits:
        assert axes.get_ylim() == pytest.approx(limits)
    assert f"<!-- {words}" in svg
    assert "<!-- 2,000 -->" in svg
    drawn = [values for line in axes.lines for values in line.get_ydata()]
    assert axes.get_ylim()[0] <= min(drawn) <= max(drawn) <= axes.get_ylim()[1]  # the line with the words as well
