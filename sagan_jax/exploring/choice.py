"""What a visitor has chosen, an image and points on it: as values of controls, as a link and in words."""

import dataclasses
import math
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from sagan_jax.errors import InputError
from sagan_jax.sampling.attention_layer import DECIMALS, Point
from sagan_jax.sampling.heat import POINT_COLORS

MAX_SEED = 2**32 - 1
MIN_TRUNCATION, NO_TRUNCATION = 0.1, 3.0  # at most 3 normal numbers in 1,000 lie beyond 3, and none are drawn again
MAX_POINTS = len(POINT_COLORS)
QUOTED = 40  # letters of a wrong value in a message


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
    """Returns the choice of the controls' values, in the order of its fields.

    Raises:
      InputError: a seed is missing, or none that can be used.
    """
    label, seed, truncation, other_seed, walk, other_label, mix = values
    seeds = [_seed(value) for value in (seed, other_seed)]
    return Choice(
        int(label or 0), seeds[0], float(truncation), seeds[1], float(walk), int(other_label or 0), float(mix)
    )


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
    """Returns the choice and the points of a link; points are None where it has none. Other names are ignored.

    Raises:
      InputError: a value is wrong; nothing of such a link is used.
    """
    last_label = max(1, num_classes) - 1
    choice = Choice(
        label=int(_number(query, "label", 0, last_label, whole=True)),
        seed=int(_number(query, "seed", 0, MAX_SEED, whole=True)),
        truncation=_number(query, "truncation", MIN_TRUNCATION, NO_TRUNCATION),
        other_seed=int(_number(query, "other_seed", 0, MAX_SEED, whole=True)),
        walk=_number(query, "walk", 0, 1),
        other_label=int(_number(query, "other_label", 0, last_label, whole=True)),
        mix=_number(query, "mix", 0, 1),
    )
    if "points" not in query:
        return choice, None
    pairs = [pair.split(",") for pair in query["points"].split("_")] if query["points"] else []
    if len(pairs) > MAX_POINTS or any(len(pair) != 2 for pair in pairs):
        raise InputError(
            f"points={shortened(query['points'])} must be up to {MAX_POINTS} pairs such as 0.25,0.5_0.7,0.1"
        )
    x_and_y = [[_number({"points": value}, "points", 0, 1) for value in pair] for pair in pairs]
    return choice, [(x, y) for x, y in x_and_y]


def shortened(text: str) -> str:
    """Cuts a text that a person or a link brings to what a message can quote."""
    return text if len(text) <= QUOTED else text[:QUOTED] + "…"


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


def _seed(value: Any) -> int:
    """Returns a seed as the field gives it: None, or a number that may be a float."""
    if value is None:
        raise InputError(f"a seed is missing: give a whole number from 0 to {MAX_SEED:,}")
    if not 0 <= value <= MAX_SEED or value != int(value):
        written = f"{value:,.0f}" if value == int(value) else f"{value:g}"
        raise InputError(f"{shortened(written)} is no seed: give a whole number from 0 to {MAX_SEED:,}")
    return int(value)


def _number(query: Mapping[str, str], name: str, lowest: float, highest: float, whole: bool = False) -> float:
    """Returns a number of a link, or the default of the choice where the link has none."""
    if name not in query:
        return float(getattr(Choice(), name))
    kind = "whole number" if whole else "number"
    try:
        number = float(int(query[name]) if whole else query[name])
        if lowest <= number <= highest:  # not so for a NaN
            return number
    except (ValueError, OverflowError):
        pass
    raise InputError(f"{name}={shortened(query[name])} must be a {kind} from {lowest:,g} to {highest:,}")
