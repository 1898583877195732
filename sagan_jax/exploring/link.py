"""A choice and its points as the query of a page's address, and back."""

import dataclasses
import urllib.parse
from collections.abc import Mapping

from sagan_jax.exploring.points import DECIMALS, MOST_POINTS, Point
from sagan_jax.exploring.scene import NO_TRUNCATION, Choice


def to_query(choice: Choice, points: list[Point]) -> str:
    """Such as "?label=3&seed=7&points=0.2500,0.5000"; what is as at the beginning is left out."""
    default = Choice()
    values = {
        field.name: repr(getattr(choice, field.name))  # exact, for seeds of any size
        for field in dataclasses.fields(Choice)
        if getattr(choice, field.name) != getattr(default, field.name)
    }
    values["points"] = "_".join(f"{x:.{DECIMALS}f},{y:.{DECIMALS}f}" for x, y in points)
    return "?" + urllib.parse.urlencode(values, safe=",")


def from_query(query: Mapping[str, str], num_classes: int) -> tuple[Choice, list[Point] | None]:
    """A choice that is possible, whatever the address says; points are None where it says none."""
    classes = max(1, num_classes)
    choice = Choice(
        label=int(_number(query, "label", 0, 0, classes - 1)),
        seed=int(_number(query, "seed", 0, 0, 2**32 - 1)),
        truncation=_number(query, "truncation", NO_TRUNCATION, 0.1, NO_TRUNCATION),
        other_seed=int(_number(query, "other_seed", 1, 0, 2**32 - 1)),
        walk=_number(query, "walk", 0, 0, 1),
        other_label=int(_number(query, "other_label", 0, 0, classes - 1)),
        mix=_number(query, "mix", 0, 0, 1),
    )
    if "points" not in query:
        return choice, None
    points = []
    for pair in query["points"].split("_")[:MOST_POINTS] if query["points"] else ():
        values = dict(zip("xy", pair.split(","), strict=False))
        points.append((_number(values, "x", 0.5, 0, 1), _number(values, "y", 0.5, 0, 1)))
    return choice, points


def _number(query: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    try:
        return min(most, max(least, float(query[name])))
    except (KeyError, ValueError):
        return default
