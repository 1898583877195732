"""Draws attention over images: heat maps, one pixel per key, and points with arrows, as SVG or with Pillow."""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sagan_jax.runtime.pictures import font
from sagan_jax.sampling.attention_layer import EVEN, AttentionLayer, Point

# Four colours of the Okabe-Ito palette, for any kind of colour vision, that are visible on photographs.
POINT_COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167))
MAX_OPACITY = 0.82
TOGETHER_OPACITY, LEAST_CELLS = 0.75, 3  # of a picture of several points; cells of each
COLORMAP_RANGE = (0.5, 0.96)  # of matplotlib's inferno: neither its blacks nor its whites
EVEN_WORD = "even"  # in place of heat where a point attends to all cells alike
SCALE_WIDTH, SCALE_INK = 84, (110, 110, 105)
BRIGHTNESS = 0.62  # of the grey image under a heat map
SMALL, ENLARGED = 128, 256  # pixels: images with smaller sides are enlarged, since browsers do it less well
SUPERSAMPLING = 4  # Pillow draws without smoothing: marks are drawn at this multiple and scaled down
MIN_ARROW = 3.0  # radii of a dot: the dot covers targets that are nearer


def heat(row: np.ndarray, scale_max: float) -> np.ndarray:
    """Draws the heat map of one row of attention weights.

    Opacity and colour go from a uniform weight, which is clear as all below it, to `scale_max`, in equal ratios.

    Args:
      row: [M] float32 attention weights.
      scale_max: upper end of the scale, in multiples of a uniform weight 1 / M.

    Returns:
      [side, side, 4] uint8 with side * side = M.
    """
    return _square(_glow(_levels(row, scale_max)))


def overlay(rows: Sequence[np.ndarray], colors: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Draws several rows of attention weights [M] together: of each the cells that it attends to most, in its colour.

    All cells of several points in one picture cannot be read; so it is a sixteenth of them, and none that an even
    row would have as well.

    Returns:
      [side, side, 4] uint8; a cell of several rows has the colour of the one with the largest weight there.
    """
    shares = np.stack(rows) * len(rows[0])
    count = max(LEAST_CELLS, len(rows[0]) // 16)
    least = np.maximum(np.sort(shares, axis=1)[:, -min(count, len(rows[0]))], EVEN)
    shown = np.where(shares >= least[:, None], shares, 0)
    opacity = np.where(shown.max(axis=0) > 0, TOGETHER_OPACITY, 0.0)
    strongest = np.array(colors, np.float32)[shown.argmax(axis=0)]
    return _square(np.concatenate([strongest, opacity[:, None] * 255], axis=1).round().astype(np.uint8))


def color_scale(count: int) -> np.ndarray:
    """Returns the colours of heat maps from a uniform weight to the largest in equal steps, [count, 4] uint8."""
    return _glow(np.linspace(0, 1, count))


def enlarged(image: np.ndarray) -> np.ndarray:
    """Enlarges an image [H, W, 3] uint8 smoothly by a whole factor if it is small."""
    side = image.shape[0]
    if side >= SMALL:
        return image
    return np.asarray(resized(image, side * -(-ENLARGED // side)))


def resized(image: np.ndarray, side: int) -> Image.Image:
    """Resizes an image [H, W, 3] uint8 smoothly to another side."""
    return Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)


def darkened(image: Image.Image) -> Image.Image:
    """Makes an image grey and darker, to lie under a heat map."""
    return image.convert("L").point(lambda value: value * BRIGHTNESS).convert("RGB")


def covered(image: Image.Image, cells: np.ndarray) -> Image.Image:
    """Lays colours [side, side, 4] uint8 over an image, as cells with hard edges."""
    over = Image.fromarray(cells).resize(image.size, Image.Resampling.NEAREST)
    return Image.alpha_composite(image.convert("RGBA"), over).convert("RGB")


def attended_map(image: Image.Image, layer: AttentionLayer, index: int, point: Point, radius: float) -> Image.Image:
    """Draws what one point of a square image attends to: heat over the darkened image, its dot and its arrow.

    Args:
      image: as large as the map is to be.
      layer: that attends.
      index: of the point, which gives its colour.
      point: on the image.
      radius: of its dot, as a fraction of the side.
    """
    if layer.is_even_at(point):
        return with_marks(_with_word(darkened(image), EVEN_WORD), [(index, point)], [None], radius)
    cells = heat(layer.row_at(point), layer.scale_max)
    return with_marks(covered(darkened(image), cells), [(index, point)], [layer.target_at(point)], radius)


def attended_together(image: Image.Image, layer: AttentionLayer, points: Sequence[Point], radius: float) -> Image.Image:
    """Draws what several points attend to in one picture, each in its colour, as figure 5 of the paper."""
    if not points:
        return image
    if all(layer.is_even_at(point) for point in points):
        return with_marks(_with_word(darkened(image), EVEN_WORD), list(enumerate(points)), [None] * len(points), radius)
    cells = overlay([layer.row_at(point) for point in points], POINT_COLORS[: len(points)])
    targets = [layer.target_at(point) for point in points]
    return with_marks(covered(darkened(image), cells), list(enumerate(points)), targets, radius)


def draw_scale(canvas: Image.Image, right_middle: tuple[int, int], end: str, letters: ImageFont.FreeTypeFont) -> None:
    """Draws the colours from 1× to what `end` says, up to a place of a canvas."""
    draw, (right, middle) = ImageDraw.Draw(canvas), right_middle
    draw.text((right, middle), end, SCALE_INK, letters, anchor="rm")
    right -= round(letters.getlength(end)) + 8
    bar = Image.new("RGB", (SCALE_WIDTH, 10), (45, 45, 45))
    canvas.paste(covered(bar, color_scale(bar.width)[None]), (right - bar.width, middle - 5))
    draw.text((right - bar.width - 8, middle), "1×", SCALE_INK, letters, anchor="rm")


def css_color(index: int) -> str:
    """Returns the colour of a point for CSS."""
    return "#" + "".join(f"{value:02x}" for value in POINT_COLORS[index])


def marks_svg(points: Sequence[tuple[int, Point]], targets: Sequence[Point | None], radius: float) -> str:
    """Draws dots with arrows as an SVG that fills its parent.

    Args:
      points: index, which gives the colour, and place of each.
      targets: for each point where its arrow ends, or None.
      radius: of a dot, as a fraction of the picture's side.
    """
    drawn = []
    for (index, point), target in zip(points, targets, strict=True):
        x, y = (100 * fraction for fraction in point)
        shape = [] if target is None else _arrow(point, target, radius)
        corners = " ".join(f"{100 * x:.2f},{100 * y:.2f}" for x, y in shape)
        fill = f'fill="{css_color(index)}" stroke="#fff" stroke-width="{28 * radius:.2f}"'
        drawn.append(f'<polygon points="{corners}" {fill} stroke-linejoin="round"/>' if shape else "")
        drawn.append(f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{100 * radius:.2f}" {fill}/>')
    return f'<svg class="marks" viewBox="0 0 100 100" aria-hidden="true">{"".join(drawn)}</svg>'


def with_marks(
    image: Image.Image, points: Sequence[tuple[int, Point]], targets: Sequence[Point | None], radius: float
) -> Image.Image:
    """Draws the same dots and arrows over a square image."""
    side = image.width * SUPERSAMPLING
    canvas = image.resize((side, side), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(canvas)
    border = max(1, round(0.28 * radius * side))
    for (index, point), target in zip(points, targets, strict=True):
        if target is not None and (shape := _arrow(point, target, radius)):
            corners = [(x * side, y * side) for x, y in shape]
            draw.line([*corners, *corners[:2]], "white", border, joint="curve")
            draw.polygon(corners, POINT_COLORS[index])
        box = [(fraction + sign * radius) * side for sign in (-1, 1) for fraction in point]
        draw.ellipse(box, POINT_COLORS[index], "white", border)
    return canvas.resize(image.size, Image.Resampling.LANCZOS)


def _with_word(image: Image.Image, word: str) -> Image.Image:
    """Writes a word in the middle of an image, on a dark band that fits it."""
    letters = font(max(11, image.width // 11))
    draw, middle = ImageDraw.Draw(image), image.width / 2
    half, height = letters.getlength(word) / 2 + letters.size * 0.6, letters.size * 0.85
    box = (middle - half, middle - height, middle + half, middle + height)
    draw.rounded_rectangle(box, height, fill=(38, 38, 38))
    draw.text((middle, middle), word, (225, 225, 220), letters, anchor="mm")
    return image


def _arrow(start: Point, end: Point, radius: float) -> list[Point]:
    """Returns the corners of an arrow from a dot to a target, none where the dot covers the target."""
    length = math.dist(start, end)
    if length < MIN_ARROW * radius:
        return []
    along = np.subtract(end, start) / length
    across = np.array([-along[1], along[0]])
    shaft, wing = 0.22 * radius, 0.75 * radius
    neck = max(0.3 * length, length - 1.5 * radius)
    outline = [(0.0, shaft), (neck, shaft), (neck, wing), (length, 0.0), (neck, -wing), (neck, -shaft), (0.0, -shaft)]
    corners = [np.array(start) + forwards * along + sideways * across for forwards, sideways in outline]
    return [(float(x), float(y)) for x, y in corners]


def _levels(row: np.ndarray, scale_max: float) -> np.ndarray:
    """Maps weights to 0 (uniform, and all below) to 1 (`scale_max`), in equal ratios."""
    return np.clip(np.log(np.maximum(row * len(row), 1)) / np.log(scale_max), 0, 1)


def _glow(levels: np.ndarray) -> np.ndarray:
    lowest, highest = COLORMAP_RANGE
    return _pixels(matplotlib.colormaps["inferno"](lowest + (highest - lowest) * levels)[:, :3] * 255, levels)


def _pixels(colors: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Joins colours [M, 3] of 0 to 255 with the opacities of levels [M]; returns [M, 4] uint8."""
    return np.concatenate([colors, levels[:, None] * MAX_OPACITY * 255], axis=1).round().astype(np.uint8)


def _square(pixels: np.ndarray) -> np.ndarray:
    side = round(len(pixels) ** 0.5)
    return pixels.reshape(side, side, 4)
