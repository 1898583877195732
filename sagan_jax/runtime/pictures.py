"""Pictures for people: a sheet of samples, and where points of an image look."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 4  # pixels between tiles
PAPER = (250, 250, 248)
INK = (45, 45, 45)
# The first four of the Okabe-Ito palette that are readable on photographs, for any kind of sight.
POINT_COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167))
FRAME = 60  # milliseconds of an animation
MIN_TILE = 64  # smaller images are enlarged to at least this side


def sample_sheet(images: np.ndarray, row_names: Sequence[str], title: str) -> np.ndarray:
    """A grid of samples with the name of each row.

    Args:
      images: [R, N, H, W, 3] uint8, R rows of N samples.
      row_names: R names, usually of classes.
      title: one line above the grid.

    Returns:
      [height, width, 3] uint8.
    """
    rows, columns, side = images.shape[:3]
    tile = _tile_side(side)
    font = ImageFont.load_default(13)
    margin = 12 + max(int(font.getlength(_shortened(name))) for name in row_names)
    canvas, draw = _canvas(margin + columns * (tile + GAP) + GAP, 30 + rows * (tile + GAP) + GAP)
    draw.text((8, 15), title, INK, ImageFont.load_default(14), anchor="lm")
    for row in range(rows):
        top = 30 + row * (tile + GAP)
        draw.text((8, top + tile // 2), _shortened(row_names[row]), INK, font, anchor="lm")
        for column in range(columns):
            canvas.paste(_enlarged(images[row, column], tile), (margin + column * (tile + GAP), top))
    return np.asarray(canvas)


def attention_picture(
    images: np.ndarray,
    maps: dict[str, np.ndarray],
    gates: dict[str, float],
    title: str,
    queries: dict[str, list[int]] | None = None,
) -> np.ndarray:
    """For each attention layer and image: the image with marked points, then where each of these points looks.

    Points that are not given are chosen one after the other so that each attends as differently as possible from
    those before it.

    Args:
      images: [N, H, W, 3] uint8.
      maps: attention weights [N, L, M] of each layer, L and M squares of feature map sides.
      gates: gamma of each layer.
      title: one line above everything.
      queries: up to four query positions of each layer.

    Returns:
      [height, width, 3] uint8.
    """
    count, tile = len(images), max(96, _tile_side(images.shape[1]))
    points = len(POINT_COLORS)
    section = 26 + count * (tile + GAP)
    canvas, draw = _canvas((points + 1) * (tile + GAP) + GAP, 30 + section * max(1, len(maps)) + GAP)
    draw.text((8, 15), title, INK, ImageFont.load_default(14), anchor="lm")
    if not maps:
        draw.text((8, 45), "this generator has no attention layer", INK, ImageFont.load_default(13), anchor="lm")
    for index, (layer, weights) in enumerate(maps.items()):
        top = 30 + index * section
        query_side = round(weights.shape[1] ** 0.5)
        caption = f"{layer}: {query_side}x{query_side} queries, gamma = {gates[layer]:+.3f}"
        draw.text((8, top + 12), caption, INK, ImageFont.load_default(13), anchor="lm")
        for row in range(count):
            chosen = queries[layer] if queries else distinct_queries(weights[row], points)
            _attention_row(canvas, images[row], weights[row], chosen, top + 26 + row * (tile + GAP), tile)
    return np.asarray(canvas)


def distinct_queries(weights: np.ndarray, count: int) -> list[int]:
    """Query positions whose attention differs most: the most focused one, then greedily the farthest.

    Args:
      weights: [L, M], rows sum to 1.
      count: how many positions.

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
    """An image in grey, darkened, with one row of attention weights [M] glowing over it."""
    side = round(len(row) ** 0.5)
    level = Image.fromarray((row / row.max()).reshape(side, side).astype(np.float32))
    level = np.clip(np.asarray(level.resize(image.size, Image.Resampling.BICUBIC)), 0, 1)[..., None]
    glow = matplotlib.colormaps["inferno"](level[..., 0])[..., :3] * 255
    grey = np.asarray(image.convert("L"), np.float32)[..., None] * 0.6
    opacity = 0.25 + 0.65 * level
    return Image.fromarray((grey * (1 - opacity) + glow * opacity).astype(np.uint8))


def encoded_png(image: np.ndarray) -> bytes:
    """The PNG file of an image [H, W, 3] uint8."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def encoded_animation(frames: np.ndarray, kind: str) -> bytes:
    """An endless animation of images [T, H, W, 3] uint8, as "webp" or "gif"."""
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
    for query, color in zip(queries, POINT_COLORS, strict=False):
        _mark(marked, query, side, color)
    canvas.paste(marked, (GAP, top))
    for column, (query, color) in enumerate(zip(queries, POINT_COLORS, strict=False), start=1):
        heat = heat_over(_enlarged(image, tile), weights[query])
        _mark(heat, query, side, color)
        ImageDraw.Draw(heat).rectangle((0, 0, tile - 1, tile - 1), outline=color, width=3)
        canvas.paste(heat, (GAP + column * (tile + GAP), top))


def _mark(image: Image.Image, query: int, side: int, color: tuple[int, int, int]) -> None:
    """Draws a point at the centre of a query position."""
    cell = image.width / side
    x, y = (query % side + 0.5) * cell, (query // side + 0.5) * cell
    radius = max(4, image.width // 22)
    ImageDraw.Draw(image).ellipse(
        (x - radius, y - radius, x + radius, y + radius), fill=color, outline="white", width=2
    )


def _canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    canvas = Image.new("RGB", (width, height), PAPER)
    return canvas, ImageDraw.Draw(canvas)


def _tile_side(side: int) -> int:
    return side * max(1, -(-MIN_TILE // side))


def _enlarged(image: np.ndarray, tile: int) -> Image.Image:
    """Whole multiples keep hard pixel edges, so that nothing is shown that was not generated."""
    return Image.fromarray(image).resize((tile, tile), Image.Resampling.NEAREST)


def _shortened(name: str) -> str:
    return name if len(name) <= 22 else name[:21] + "…"
