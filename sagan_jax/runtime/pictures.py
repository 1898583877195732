"""Draws sheets of samples, and encodes pictures and animations."""

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
FRAME = 60  # milliseconds per frame of an animation
MIN_TILE = 64  # pixels; smaller images are enlarged to at least this side
HEAD, CAPTION = 30, 16  # heights in pixels of the title, and of a caption under a tile or a name above a column
LONGEST_NAME = 170  # pixels; longer ones are cut
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # DejaVu has γ, − and Cyrillic letters, Pillow's own has not


def sample_sheet(
    images: np.ndarray | Sequence[np.ndarray],
    row_names: Sequence[str],
    title: str,
    captions: Sequence[str] = (),
    column_names: Sequence[str] = (),
) -> np.ndarray:
    """Draws a grid of samples with the name of each row.

    Args:
      images: R rows of samples [N, H, W, 3] uint8; a row may have fewer than another.
      row_names: R names, usually of classes.
      title: one line above the grid.
      captions: texts under the samples, row by row, or none.
      column_names: texts above the columns, or none.

    Returns:
      [height, width, 3] uint8.
    """
    side, columns = images[0].shape[1], max(len(row) for row in images)
    tile = tile_side(side)
    height = tile + GAP + (CAPTION if captions else 0)
    names = [_shortened(name, font(12), LONGEST_NAME) for name in row_names]
    margin = 12 + max(int(font(12).getlength(name)) for name in names)
    above = CAPTION if column_names else 0
    canvas, draw = titled_canvas(title, margin + columns * (tile + GAP) + GAP, above + len(images) * height + GAP)
    lefts = [margin + column * (tile + GAP) for column in range(columns)]
    for left, name in zip(lefts, column_names, strict=False):
        draw.text(
            (left + tile // 2, HEAD + above // 2 - 2), _shortened(name, font(10), tile), INK, font(10), anchor="mm"
        )
    under = iter(captions)
    for index, row in enumerate(images):
        top = HEAD + above + index * height
        draw.text((8, top + tile // 2), names[index], INK, font(12), anchor="lm")
        for left, image in zip(lefts, row, strict=False):
            canvas.paste(with_larger_pixels(image, tile), (left, top))
            caption = _shortened(next(under, ""), font(10), tile)
            draw.text((left + tile // 2, top + tile + CAPTION // 2), caption, INK, font(10), anchor="mm")
    return np.asarray(canvas)


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


def titled_canvas(title: str, width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Makes a canvas with a title, and `width` x `height` pixels below it."""
    width = max(width, 16 + int(font(13).getlength(title)))
    canvas = Image.new("RGB", (width, HEAD + height), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((8, HEAD // 2), title, INK, font(13), anchor="lm")
    return canvas, draw


@functools.cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Returns the font of pictures in a size of pixels."""
    return ImageFont.truetype(FONTS / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)


def tile_side(side: int, least: int = MIN_TILE) -> int:
    """Returns the smallest multiple of an image's side that has at least so many pixels."""
    return side * max(1, -(-least // side))


def with_larger_pixels(image: np.ndarray, tile: int) -> Image.Image:
    """Repeats the pixels of an image to a side, so that nothing is shown that was not generated."""
    return Image.fromarray(image).resize((tile, tile), Image.Resampling.NEAREST)


def _shortened(name: str, letters: ImageFont.FreeTypeFont, width: int) -> str:
    """Cuts a name to fit into so many pixels."""
    if letters.getlength(name) <= width:
        return name
    while letters.getlength(name + "…") > width:
        name = name[:-1]
    return name + "…"
