"""What the page shows as one picture for a paper."""

import io
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from sagan_jax.exploring.choice import Point
from sagan_jax.exploring.heat import color_scale, covered, darkened, heat, overlay, resized, with_marks
from sagan_jax.exploring.scene import AttentionLayer, Scene, signed
from sagan_jax.runtime.pictures import INK, POINT_COLORS

TILE, GAP, MARGIN = 320, 14, 28  # pixels
HEAD, CAPTION, FOOT = 64, 44, 36  # pixels of height: of the title, above and below a row of tiles
QUIET = (110, 110, 105)
DOT = 0.042  # radius as a fraction of a tile
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # Pillow's own font has neither γ nor −


def figure_png(scene: Scene, points: list[Point], title: str, query: str) -> bytes:
    """Draws a row for each layer: the image with all points and arrows, then what each point attends to.

    Args:
      scene: the image and its layers.
      points: on it.
      title: above everything.
      query: of the page's link, which goes into the file as a text named "link".

    Returns:
      A PNG file.
    """
    tiles = 1 + len(points)
    layers: tuple[AttentionLayer | None, ...] = scene.layers or (None,)
    row = CAPTION + TILE + FOOT
    title_width = round(_font(26, bold=True).getlength(title))
    width = 2 * MARGIN + max(tiles * TILE + (tiles - 1) * GAP, title_width)
    canvas = Image.new("RGB", (width, HEAD + len(layers) * row + MARGIN // 2), "white")
    ImageDraw.Draw(canvas).text((MARGIN, HEAD - 18), title, INK, _font(26, bold=True), anchor="ls")
    for index, layer in enumerate(layers):
        _row(canvas, HEAD + index * row, scene.image, layer, points)
    text = PngInfo()
    text.add_itxt("Title", title)
    text.add_itxt("link", query)
    buffer = io.BytesIO()
    canvas.save(buffer, "png", pnginfo=text)
    return buffer.getvalue()


def _row(canvas: Image.Image, top: int, image: np.ndarray, layer: AttentionLayer | None, points: list[Point]) -> None:
    draw, under = ImageDraw.Draw(canvas), resized(image, TILE)
    numbered = list(enumerate(points))
    if layer is None:
        canvas.paste(with_marks(under, numbered, [None] * len(points), DOT), (MARGIN, top + CAPTION))
        return
    caption = f"{layer.name} · γ {signed(layer.gamma, 2)}"
    draw.text((MARGIN, top + CAPTION - 14), caption, INK, _font(19), anchor="ls")
    targets = [layer.target_at(point) for point in points]
    everything = under
    if points:
        _scale(canvas, draw, top + CAPTION - 14, layer)
        rows = [layer.row_at(point) for point in points]
        everything = covered(darkened(under), overlay(rows, POINT_COLORS[: len(points)], layer.scale_max))
    canvas.paste(with_marks(everything, numbered, targets, DOT), (MARGIN, top + CAPTION))
    for index, point in numbered:
        left = MARGIN + (index + 1) * (TILE + GAP)
        cells = heat(layer.row_at(point), layer.scale_max)
        picture = with_marks(covered(darkened(under), cells), [(index, point)], [targets[index]], DOT)
        canvas.paste(picture, (left, top + CAPTION))
        entropy, distance = layer.entropy_at(point), layer.distance_at(point, image.shape[0])
        numbers = f"entropy {100 * entropy:.0f} % · {distance:.1f} px away"
        draw.text((left, top + CAPTION + TILE + 22), numbers, QUIET, _font(15), anchor="ls")


def _scale(canvas: Image.Image, draw: ImageDraw.ImageDraw, base: int, layer: AttentionLayer) -> None:
    """Draws the layer's colour scale, right-aligned above its maps."""
    font, right = _font(15), canvas.width - MARGIN
    end = f"{layer.scale_max:.2g} × uniform attention"
    draw.text((right, base), end, QUIET, font, anchor="rs")
    right -= round(font.getlength(end)) + 10
    bar = Image.new("RGB", (140, 12), (45, 45, 45))
    canvas.paste(covered(bar, color_scale(bar.width)[None]), (right - bar.width, base - 12))
    draw.text((right - bar.width - 10, base), "1 ×", QUIET, font, anchor="rs")


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)
