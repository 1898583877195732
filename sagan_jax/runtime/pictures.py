"""Draws sheets of samples and pictures of attention."""

import functools
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 4  # pixels between tiles
PAPER = (250, 250, 248)
INK = (45, 45, 45)
# Four colours of the Okabe-Ito palette, for any kind of colour vision, that are visible on photographs.
POINT_COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167))
FRAME = 60  # milliseconds per frame of an animation
MIN_TILE = 64  # pixels; smaller images are enlarged to at least this side
HEAD, CAPTION = 30, 16  # heights in pixels of the title and of a caption under a tile
LONGEST_NAME = 170  # pixels; longer ones are cut
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"  # has Greek and Cyrillic letters too


def sample_sheet(images: np.ndarray, row_names: Sequence[str], title: str, captions: Sequence[str] = ()) -> np.ndarray:
    """Draws a grid of samples with the name of each row.

    Args:
      images: [R, N, H, W, 3] uint8, R rows of N samples.
      row_names: R names, usually of classes.
      title: one line above the grid.
      captions: R * N texts under the samples, or none.

    Returns:
      [height, width, 3] uint8.
    """
    rows, columns, side = images.shape[:3]
    tile, font = _tile_side(side), _font(12)
    height = tile + GAP + (CAPTION if captions else 0)
    names = [_shortened(name, font, LONGEST_NAME) for name in row_names]
    margin = 12 + max(int(font.getlength(name)) for name in names)
    canvas, draw = _titled_canvas(title, margin + columns * (tile + GAP) + GAP, rows * height + GAP)
    for row in range(rows):
        top = HEAD + row * height
        draw.text((8, top + tile // 2), names[row], INK, font, anchor="lm")
        for column in range(columns):
            left = margin + column * (tile + GAP)
            canvas.paste(_enlarged(images[row, column], tile), (left, top))
            if captions:
                caption = _shortened(captions[row * columns + column], _font(10), tile)
                draw.text((left + tile // 2, top + tile + CAPTION // 2), caption, INK, _font(10), anchor="mm")
    return np.asarray(canvas)


def attention_picture(
    images: np.ndarray,
    maps: dict[str, np.ndarray],
    gammas: dict[str, float],
    title: str,
) -> np.ndarray:
    """Draws for each attention layer and image the image with marked points, then the attention of each point.

    Points are chosen greedily, so that each attends as differently as possible from those before it.

    Args:
      images: [N, H, W, 3] uint8.
      maps: attention weights [N, L, M] of each layer, L and M squares of feature map sides; named after their network
        and side, such as "generator_32".
      gammas: gamma of each layer.
      title: one line above everything.

    Returns:
      [height, width, 3] uint8.
    """
    count, tile = len(images), max(96, _tile_side(images.shape[1]))
    points = len(POINT_COLORS)
    section = 26 + count * (tile + GAP)
    canvas, draw = _titled_canvas(title, (points + 1) * (tile + GAP) + GAP, 24 + section * max(1, len(maps)) + GAP)
    if not maps:
        draw.text((8, HEAD + 12), "no layer of attention", INK, _font(12), anchor="lm")
        return np.asarray(canvas)
    _draw_heading(draw, tile)
    for index, (layer, weights) in enumerate(maps.items()):
        top = HEAD + 24 + index * section
        draw.text((8, top + 12), layer_caption(layer, weights, gammas[layer]), INK, _font(12), anchor="lm")
        for row in range(count):
            chosen = distinct_queries(weights[row], points)
            _attention_row(canvas, images[row], weights[row], chosen, top + 26 + row * (tile + GAP), tile)
    return np.asarray(canvas)


def layer_caption(layer: str, weights: np.ndarray, gamma: float) -> str:
    """Formats a layer's name, attention weights [N, L, M] and gamma, such as "Generator, 8 × 8, γ −0.17"."""
    side = round(weights.shape[1] ** 0.5)
    return f"{layer.partition('_')[0].capitalize()}, {side} × {side}, γ {gamma:+.2f}".replace("-", "−")


def distinct_queries(weights: np.ndarray, count: int) -> list[int]:
    """Chooses query positions whose attention differs most: the most focused one, then greedily the farthest.

    Args:
      weights: [L, M], rows sum to 1.
      count: number of positions.

    Returns:
      `count` indices into L. Distance is the total variation between two rows.
    """
    chosen = [int(weights.max(axis=1).argmax())]
    distance = np.full(len(weights), np.inf)
    for _ in range(count - 1):
        distance = np.minimum(distance, np.abs(weights - weights[chosen[-1]]).sum(axis=1) / 2)
        distance[chosen] = -1.0
        chosen.append(int(distance.argmax()))
    return chosen


def heat_over(image: Image.Image, row: np.ndarray) -> Image.Image:
    """Draws one row of attention weights [M] as a heat map over an image in dark grey."""
    side = round(len(row) ** 0.5)
    level = Image.fromarray((row / row.max()).reshape(side, side).astype(np.float32))
    level = np.clip(np.asarray(level.resize(image.size, Image.Resampling.BICUBIC)), 0, 1)[..., None]
    glow = matplotlib.colormaps["inferno"](level[..., 0])[..., :3] * 255
    grey = np.asarray(image.convert("L"), np.float32)[..., None] * 0.6
    opacity = 0.25 + 0.65 * level
    return Image.fromarray((grey * (1 - opacity) + glow * opacity).astype(np.uint8))


def encoded_png(image: np.ndarray) -> bytes:
    """Encodes an image [H, W, 3] uint8 as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def encoded_animation(frames: np.ndarray, kind: str) -> bytes:
    """Encodes images [T, H, W, 3] uint8 as an endless animation, "webp" or "gif"."""
    buffer = io.BytesIO()
    first, *others = (Image.fromarray(frame) for frame in frames)
    quality = {"quality": 90} if kind == "webp" else {}
    first.save(buffer, kind, save_all=True, append_images=others, duration=FRAME, loop=0, **quality)
    return buffer.getvalue()


def _attention_row(
    canvas: Image.Image, image: np.ndarray, weights: np.ndarray, queries: list[int], top: int, tile: int
) -> None:
    marked = _enlarged(image, tile)
    side = round(weights.shape[0] ** 0.5)
    for query, color in zip(queries, POINT_COLORS, strict=True):
        _mark(marked, query, side, color)
    canvas.paste(marked, (GAP, top))
    for column, (query, color) in enumerate(zip(queries, POINT_COLORS, strict=True), start=1):
        heat = heat_over(_enlarged(image, tile), weights[query])
        _mark(heat, query, side, color)
        ImageDraw.Draw(heat).rectangle((0, 0, tile - 1, tile - 1), outline=color, width=3)
        canvas.paste(heat, (GAP + column * (tile + GAP), top))


def _draw_heading(draw: ImageDraw.ImageDraw, tile: int) -> None:
    """Writes over the columns "points", then "where ● looks" with a dot in the colour of each point."""
    middle, font = HEAD + 12, _font(12)
    draw.text((GAP + tile // 2, middle), "points", INK, font, anchor="mm")
    for column, color in enumerate(POINT_COLORS, start=1):
        left = GAP + column * (tile + GAP) + (tile - font.getlength("where ● looks")) // 2
        for text, ink in (("where ", INK), ("●", color), (" looks", INK)):
            draw.text((left, middle), text, ink, font, anchor="lm")
            left += font.getlength(text)


def _mark(image: Image.Image, query: int, side: int, color: tuple[int, int, int]) -> None:
    """Draws a point at the centre of a query position."""
    cell = image.width / side
    x, y = (query % side + 0.5) * cell, (query // side + 0.5) * cell
    radius = max(4, image.width // 22)
    ImageDraw.Draw(image).ellipse(
        (x - radius, y - radius, x + radius, y + radius), fill=color, outline="white", width=2
    )


def _titled_canvas(title: str, width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Makes a canvas with a title, and `width` x `height` pixels below it."""
    width = max(width, 16 + int(_font(13).getlength(title)))
    canvas = Image.new("RGB", (width, HEAD + height), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((8, HEAD // 2), title, INK, _font(13), anchor="lm")
    return canvas, draw


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT, size)


def _tile_side(side: int) -> int:
    return side * max(1, -(-MIN_TILE // side))


def _enlarged(image: np.ndarray, tile: int) -> Image.Image:
    """Repeats pixels a whole number of times, so that nothing is shown that was not generated."""
    return Image.fromarray(image).resize((tile, tile), Image.Resampling.NEAREST)


def _shortened(name: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Cuts a name to fit into so many pixels."""
    if font.getlength(name) <= width:
        return name
    while font.getlength(name + "…") > width:
        name = name[:-1]
    return name + "…"
