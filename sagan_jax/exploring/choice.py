"""What a visitor has chosen, an image and points on it: as values of controls, as a link and in words."""

import dataclasses
import math
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from sagan_jax.sampling.attention_layer import DECIMALS, Point
from sagan_jax.sampling.heat import POINT_COLORS

MAX_SEED = 2**32 - 1
MIN_TRUNCATION, NO_TRUNCATION = 0.1, 3.0  # at most 3 normal numbers in 1,000 lie beyond 3, and none are drawn again
MAX_POINTS = len(POINT_COLORS)


@dataclasses.dataclass(frozen=True)
class Choice:
    """The settings of an image.

    Attributes:
      label: class of the image.
      seed: of its latent.
      truncation: limit of the latent's absolute values; none from NO_TRUNCATION on.
      other_seed: of the latent that a walk leads to.
      walk: fraction of the way to that latent, 0 to 1.
      other_label: class to mix in.
      mix: fraction of that class, 0 to 1.
    """

    label: int = 0
    seed: int = 0
    truncation: float = NO_TRUNCATION
    other_seed: int = 1
    walk: float = 0.0
    other_label: int = 0
    mix: float = 0.0


def from_values(values: Sequence[Any]) -> Choice:
    """Returns the choice of the controls' values, in the order of its fields; an empty field counts as 0."""
    label, seed, truncation, other_seed, walk, other_label, mix = (value or 0 for value in values)
    return Choice(int(label), int(seed), float(truncation), int(other_seed), float(walk), int(other_label), float(mix))


def with_point(points: list[Point], new: Point) -> list[Point]:
    """Returns the points with a new one; beyond MAX_POINTS the new one replaces the nearest and keeps its colour."""
    if len(points) < MAX_POINTS:
        return [*points, new]
    nearest = min(range(len(points)), key=lambda index: math.dist(points[index], new))
    return [*points[:nearest], new, *points[nearest + 1 :]]


def to_query(choice: Choice, points: list[Point]) -> str:
    """Returns the query of the page's link, such as "?label=3&seed=7&points=0.2500,0.5000", without default values."""
    default = Choice()
    values = {
        field.name: repr(getattr(choice, field.name))  # exact, for seeds of any size
        for field in dataclasses.fields(Choice)
        if getattr(choice, field.name) != getattr(default, field.name)
    }
    values["points"] = "_".join(f"{x:.{DECIMALS}f},{y:.{DECIMALS}f}" for x, y in points)
    return "?" + urllib.parse.urlencode(values, safe=",")


def from_query(query: Mapping[str, str], num_classes: int) -> tuple[Choice, list[Point] | None]:
    """Returns the choice and the points of a link; points are None where it has none.

    Values that are missing or no numbers become defaults, others are clipped: every result can be shown.
    """
    last_label = max(1, num_classes) - 1
    choice = Choice(
        label=int(_number(query, "label", 0, 0, last_label)),
        seed=int(_number(query, "seed", 0, 0, MAX_SEED)),
        truncation=_number(query, "truncation", NO_TRUNCATION, MIN_TRUNCATION, NO_TRUNCATION),
        other_seed=int(_number(query, "other_seed", 1, 0, MAX_SEED)),
        walk=_number(query, "walk", 0, 0, 1),
        other_label=int(_number(query, "other_label", 0, 0, last_label)),
        mix=_number(query, "mix", 0, 0, 1),
    )
    if "points" not in query:
        return choice, None
    points = []
    for pair in query["points"].split("_")[:MAX_POINTS] if query["points"] else ():
        values = dict(zip("xy", pair.split(","), strict=False))
        points.append((_number(values, "x", 0.5, 0, 1), _number(values, "y", 0.5, 0, 1)))
    return choice, points


def subject(choice: Choice, class_names: Sequence[str], *, uploaded: bool) -> str:
    """Describes what is shown, such as "class 3 · seed 7" or "uploaded image, taken for class 3"."""
    label = _class_name(class_names, choice.label)
    if uploaded:
        return f"uploaded image, taken for {label}" if label else "uploaded image"
    parts = [label, f"seed {choice.seed}"]
    if choice.truncation < NO_TRUNCATION:
        parts.append(f"truncation {choice.truncation:g}")
    if choice.walk:
        parts.append(f"{100 * choice.walk:.0f} % of the way to seed {choice.other_seed}")
    if choice.mix:
        parts.append(f"{100 * choice.mix:.0f} % {_class_name(class_names, choice.other_label)}")
    return " · ".join(part for part in parts if part)


def _class_name(class_names: Sequence[str], label: int) -> str:
    """Returns the name of a class, "class 3" where the name is a number, or "" for a model without classes."""
    if len(class_names) < 2:
        return ""
    return f"class {class_names[label]}" if class_names[label].isdecimal() else class_names[label]


def _number(query: Mapping[str, str], name: str, default: float, lowest: float, highest: float) -> float:
    try:
        return min(highest, max(lowest, float(query[name])))
    except (KeyError, ValueError):
        return default
