"""What the page shows as one picture for a paper."""

import io

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from sagan_jax.exploring.scene import Scene
from sagan_jax.runtime.pictures import INK, font
from sagan_jax.sampling.attention_layer import AttentionLayer, Point
from sagan_jax.sampling.heat import attended_map, attended_together, draw_scale, resized, with_marks
from sagan_jax.sampling.numbers import percent, signed, times

TILE, GAP, MARGIN = 320, 14, 28  # pixels
HEAD, CAPTION, FOOT = 64, 44, 36  # pixels of height: of the title, above and below a row of tiles
QUIET = (110, 110, 105)
DOT = 0.042  # radius as a fraction of a tile


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
    title_width = round(font(26, bold=True).getlength(title))
    width = 2 * MARGIN + max(tiles * TILE + (tiles - 1) * GAP, title_width)
    canvas = Image.new("RGB", (width, HEAD + len(layers) * row + MARGIN // 2), "white")
    ImageDraw.Draw(canvas).text((MARGIN, HEAD - 18), title, INK, font(26, bold=True), anchor="ls")
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
    if layer is None:
        canvas.paste(with_marks(under, list(enumerate(points)), [None] * len(points), DOT), (MARGIN, top + CAPTION))
        return
    draw.text((MARGIN, top + CAPTION - 14), f"{layer.name} · γ {signed(layer.gamma, 2)}", INK, font(19), anchor="ls")
    if points:
        end = f"{times(layer.scale_max)} uniform attention"
        draw_scale(canvas, (canvas.width - MARGIN, top + CAPTION - 20), end, font(15))
    canvas.paste(attended_together(under, layer, points, DOT), (MARGIN, top + CAPTION))
    for index, point in enumerate(points):
        left = MARGIN + (index + 1) * (TILE + GAP)
        canvas.paste(attended_map(under, layer, index, point, DOT), (left, top + CAPTION))
        numbers = f"entropy {percent(layer.entropy_at(point))} · {layer.distance_at(point, image.shape[0]):.1f} px away"
        draw.text((left, top + CAPTION + TILE + 22), numbers, QUIET, font(15), anchor="ls")
