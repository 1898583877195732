"""Turns pixels of any mode, depth and colour space into 8-bit sRGB, or refuses them where their range is unknown."""

import functools
import io
import itertools
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps

VERSION = 2  # of the rules below, by which the same file may become other pixels
DIM = 4_095  # the largest value of 12 bits, at which pixels of 16 bits are nearly black
SAME = 2  # levels by which a colour profile may differ from sRGB to count as sRGB
DIRECT = ("L", "RGB", "CMYK", "LAB")  # modes whose numbers a profile can describe
PROFILES_KEPT = 16  # transforms; those of CMYK take megabytes


class Converted(NamedTuple):
    """An image in sRGB, and what it was before.

    Attributes:
      image: of mode RGB.
      profiled: whether a colour profile other than sRGB was converted.
      deep: whether it has 16 bits per channel.
      dim: whether it has, but no value is above `DIM`.
    """

    image: Image.Image
    profiled: bool
    deep: bool
    dim: bool


def to_srgb(image: Image.Image) -> Converted:
    """Converts an image of any mode.

    Camera orientation and colour profile are applied, 16 bits are reduced to 8, and transparency is laid over white.

    Args:
      image: as opened by Pillow; decoded here if it is not yet.

    Raises:
      ValueError: the pixels are floating-point or have 32 bits, so that their range is not known.
      Exception: whatever Pillow raises on a damaged image.
    """
    stored = f"{image.mode} {getattr(image, 'tile', '')}"  # names the mode in the file, such as RGB;16B
    ranged = image.format == "PPM"  # which states its largest value, and which Pillow scales to 16 bits
    profile = image.info.get("icc_profile") or b""
    image = ImageOps.exif_transpose(image)
    deep = ";16" in stored or ";12" in stored or image.mode == "I"
    if image.mode == "F" or (image.mode == "I" and not ranged):
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise ValueError(f"{kind} pixels have no known range")
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        highest = DIM if ";12" in stored else 65_535
        brightest = int(grey.max()) * 65_535 // highest
        image = Image.fromarray((grey * (255 / highest)).round().astype(np.uint8))
    else:
        brightest = int(np.asarray(image.convert("RGB")).max()) << 8 if deep else 0
    managed = _managed(image, profile)
    return Converted(_opaque(managed or image), managed is not None, deep, deep and brightest <= DIM)


def _managed(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Returns the colours of a profile as sRGB, with the transparency; None where there is nothing to convert."""
    if not profile and image.mode != "LAB":
        return None
    colors = image.convert({"LA": "L", "1": "L"}.get(image.mode, image.mode if image.mode in DIRECT else "RGB"))
    transform = _transform(profile, colors.mode)
    if transform is None:
        return None
    result = ImageCms.applyTransform(colors, transform)
    assert result is not None  # it would be only if it were changed in place
    if _transparent(image):
        result.putalpha(image.convert("RGBA").getchannel("A"))
    return result


@functools.lru_cache(maxsize=PROFILES_KEPT)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns the way from a profile to sRGB; None if it is damaged, of another mode, or leaves colours as they are."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile) if profile else ImageCms.createProfile("LAB"))
        transform = ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (OSError, ImageCms.PyCMSError):
        return None
    if mode not in ("L", "RGB"):
        return transform
    levels = range(0, 256, 51)
    grid = list(itertools.product(levels, repeat=3)) if mode == "RGB" else levels
    before = Image.fromarray(np.asarray(grid, np.uint8).reshape(1, -1, *([3] if mode == "RGB" else [])))
    after = ImageCms.applyTransform(before, transform)
    change = np.asarray(after, int) - np.asarray(before.convert("RGB"), int)
    return transform if np.abs(change).max() > SAME else None


def _opaque(image: Image.Image) -> Image.Image:
    """Lays transparency over white; returns mode RGB."""
    if _transparent(image):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("RGB")


def _transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
