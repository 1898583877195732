"""Converts any image to square RGB pixels, the form in which data sets hold them."""

import numpy as np
from PIL import Image, ImageOps

# Pillow's filters are antialiased.
CROPS = ("center", "squeeze")
FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


def square_rgb(image: Image.Image, resolution: int, crop: str = "center", filter_name: str = "lanczos") -> np.ndarray:
    """Converts an image of any size and mode to [resolution, resolution, 3] uint8 RGB.

    Camera orientation is applied, transparency is laid over white, and 16-bit grey is reduced to 8
    bits; an image of the right size passes unchanged.

    Args:
      image: as opened by Pillow; decoded here if it is not yet.
      resolution: side of the result in pixels.
      crop: "center" takes the largest square in the middle, "squeeze" resizes the whole image to a square.
      filter_name: one of FILTERS.

    Raises:
      ValueError: the pixels are floating-point or have more than 16 bits.
      Exception: whatever Pillow raises on a damaged image.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):  # 16-bit grey, which `convert` would clip
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    image = image.convert("RGB")
    if image.size != (resolution, resolution):
        size, method = (resolution, resolution), FILTERS[filter_name]
        image = ImageOps.fit(image, size, method) if crop == "center" else image.resize(size, method)
    return np.asarray(image, dtype=np.uint8)


def _eight_bits(grey: np.ndarray) -> np.ndarray:
    if grey.min() < 0 or grey.max() > 65_535:
        raise ValueError("grey values beyond 16 bits have no known range")
    return (grey / 257).round().astype(np.uint8)
