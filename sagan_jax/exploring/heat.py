"""Attention as colours to lay over an image: one pixel for each position that can be looked at."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image

MOST_OPACITY = 0.82
COLORS = (0.5, 0.96)  # part of the colour map that is in use: neither its blacks nor its whites
SMALL, ENLARGED = 128, 256  # pixels: images with smaller sides are enlarged, since a browser does it less well
GREY = 0.62  # brightness of the image under a heat map, which is shown without its colours


def levels(row: np.ndarray, most: float) -> np.ndarray:
    """Where weights lie between an even share (0, and all below) and `most` (1), in equal ratios.

    Args:
      row: [M] float32 attention weights.
      most: weight at the upper end.

    Returns:
      [M] float32.
    """
    count = len(row)
    return np.clip(np.log(np.maximum(row * count, 1)) / np.log(most * count), 0, 1)


def heat(row: np.ndarray, most: float) -> np.ndarray:
    """The heat map of one row of attention weights, for the arguments of `levels`.

    Returns:
      [side, side, 4] uint8 with side * side = M; the opacity is `levels` times MOST_OPACITY.
    """
    return _square(_pixels(*_glow(levels(row, most))))


def overlay(rows: Sequence[np.ndarray], colors: Sequence[tuple[int, int, int]], most: float) -> np.ndarray:
    """Several rows of attention weights [M] in one picture, each in a colour of its own.

    Returns:
      [side, side, 4] uint8: where several look at one position, the one that looks at it most.
    """
    strengths = np.stack([levels(row, most) for row in rows])
    strongest = np.array(colors, np.float32)[strengths.argmax(axis=0)]
    return _square(_pixels(strongest, strengths.max(axis=0) * MOST_OPACITY))


def scale(count: int) -> np.ndarray:
    """The colours from an even share to the most in `count` equal steps, [count, 4] uint8."""
    return _pixels(*_glow(np.linspace(0, 1, count)))


def enlarged(image: np.ndarray) -> np.ndarray:
    """An image [H, W, 3] uint8, smoothly enlarged by a whole factor if it is small."""
    side = image.shape[0]
    if side >= SMALL:
        return image
    return np.asarray(resized(image, side * -(-ENLARGED // side)))


def resized(image: np.ndarray, side: int) -> Image.Image:
    """An image [H, W, 3] uint8, smoothly brought to another side."""
    return Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)


def darkened(image: Image.Image) -> Image.Image:
    """An image as it lies under a heat map."""
    return image.convert("L").point(lambda value: value * GREY).convert("RGB")


def covered(image: Image.Image, cells: np.ndarray) -> Image.Image:
    """An image with colours [side, side, 4] uint8 over it, as cells with hard edges."""
    over = Image.fromarray(cells).resize(image.size, Image.Resampling.NEAREST)
    return Image.alpha_composite(image.convert("RGBA"), over).convert("RGB")


def _glow(level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    least, most = COLORS
    return matplotlib.colormaps["inferno"](least + (most - least) * level)[:, :3] * 255, level * MOST_OPACITY


def _pixels(colors: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Colours [M, 3] of 0 to 255 and opacities [M] of 0 to 1 -> [M, 4] uint8."""
    return np.concatenate([colors, opacity[:, None] * 255], axis=1).round().astype(np.uint8)


def _square(pixels: np.ndarray) -> np.ndarray:
    side = round(len(pixels) ** 0.5)
    return pixels.reshape(side, side, 4)
