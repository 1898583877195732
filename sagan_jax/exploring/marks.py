"""Dots and arrows over a picture: in a page as SVG, in a saved picture with Pillow."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from sagan_jax.exploring.points import Point
from sagan_jax.runtime.pictures import POINT_COLORS

FINER = 4  # Pillow draws without smoothing: at this multiple, and then smaller
SHORTEST = 3.0  # radii of a dot; what a point looks at is under the dot if it is nearer


def color(index: int) -> str:
    """Of a point, for CSS."""
    return "#" + "".join(f"{value:02x}" for value in POINT_COLORS[index])


def marks_svg(points: Sequence[tuple[int, Point]], targets: Sequence[Point | None], radius: float) -> str:
    """Dots with arrows as an SVG that fills its parent.

    Args:
      points: which one it is, and where.
      targets: for each where its arrow ends, or None.
      radius: of a dot, as a fraction of the picture's side.
    """
    drawn = []
    for (index, point), target in zip(points, targets, strict=True):
        x, y = (100 * fraction for fraction in point)
        shape = [] if target is None else arrow(point, target, radius)
        corners = " ".join(f"{100 * x:.2f},{100 * y:.2f}" for x, y in shape)
        fill = f'fill="{color(index)}" stroke="#fff" stroke-width="{28 * radius:.2f}"'
        drawn.append(f'<polygon points="{corners}" {fill} stroke-linejoin="round"/>' if shape else "")
        drawn.append(f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{100 * radius:.2f}" {fill}/>')
    return f'<svg class="marks" viewBox="0 0 100 100" aria-hidden="true">{"".join(drawn)}</svg>'


def with_marks(
    image: Image.Image, points: Sequence[tuple[int, Point]], targets: Sequence[Point | None], radius: float
) -> Image.Image:
    """A square image with the same dots and arrows."""
    side = image.width * FINER
    canvas = image.resize((side, side), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(canvas)
    border = max(1, round(0.28 * radius * side))
    for (index, point), target in zip(points, targets, strict=True):
        if target is not None and (shape := arrow(point, target, radius)):
            corners = [(x * side, y * side) for x, y in shape]
            draw.line([*corners, *corners[:2]], "white", border, joint="curve")
            draw.polygon(corners, POINT_COLORS[index])
        box = [(fraction + sign * radius) * side for sign in (-1, 1) for fraction in point]
        draw.ellipse(box, POINT_COLORS[index], "white", border)
    return canvas.resize(image.size, Image.Resampling.LANCZOS)


def arrow(start: Point, end: Point, radius: float) -> list[Point]:
    """Corners of an arrow from the edge of a dot to a target; none where the dot covers the target."""
    length = math.dist(start, end)
    if length < SHORTEST * radius:
        return []
    along = np.subtract(end, start) / length
    across = np.array([-along[1], along[0]])
    shaft, wing = 0.22 * radius, 0.75 * radius
    neck = max(0.3 * length, length - 1.5 * radius)
    outline = [(0.0, shaft), (neck, shaft), (neck, wing), (length, 0.0), (neck, -wing), (neck, -shaft), (0.0, -shaft)]
    corners = [np.array(start) + forwards * along + sideways * across for forwards, sideways in outline]
    return [(float(x), float(y)) for x, y in corners]
