"""Converts any image to square RGB pixels, the form in which data sets hold them."""

import numpy as np
from PIL import Image, ImageOps

from sagan_jax.data.color import to_srgb

# Pillow's filters are antialiased.
CROPS = ("center", "squeeze")
FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


def square_rgb(image: Image.Image, resolution: int, crop: str = "center", filter_name: str = "lanczos") -> np.ndarray:
    """Converts an image of any size and mode to [resolution, resolution, 3] uint8 sRGB, see `to_srgb`.

    Args:
      image: as opened by Pillow; decoded here if it is not yet.
      resolution, crop, filter_name: see `square_pixels`.

    Raises:
      ValueError: the range of the pixels is not known.
      Exception: whatever Pillow raises on a damaged image.
    """
    return square_pixels(to_srgb(image).image, resolution, crop, filter_name)


def square_pixels(
    image: Image.Image, resolution: int, crop: str = "center", filter_name: str = "lanczos"
) -> np.ndarray:
    """Makes an RGB image square; one of the right size passes unchanged.

    Args:
      image: of mode RGB.
      resolution: side of the result in pixels.
      crop: "center" takes the largest square in the middle, "squeeze" resizes the whole image to a square.
      filter_name: one of FILTERS.
    """
    if crop == "center" and min(image.size) == resolution:  # of an odd difference half pixels would be mixed
        left, top = ((side - resolution) // 2 for side in image.size)
        image = image.crop((left, top, left + resolution, top + resolution))
    if image.size != (resolution, resolution):
        size, method = (resolution, resolution), FILTERS[filter_name]
        image = ImageOps.fit(image, size, method) if crop == "center" else image.resize(size, method)
    return np.asarray(image, dtype=np.uint8)
