"""An image that somebody uploads, as the discriminator takes it; or one sentence on why not."""

from pathlib import Path

import numpy as np
from PIL import Image

from sagan_jax.data.resize import square_rgb
from sagan_jax.errors import InputError

LARGEST = 10 * 2**20  # bytes
MOST_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")


def read_upload(path: str, resolution: int) -> np.ndarray:
    """An image file as `prepare` would make it, [resolution, resolution, 3] uint8. Raises InputError if it is none."""
    name = Path(path).name
    if Path(path).stat().st_size > LARGEST:
        raise InputError(f"{name} has more than {LARGEST >> 20} MB: choose a smaller image.")
    try:
        with Image.open(path, formats=FORMATS) as file:
            if file.width * file.height > MOST_PIXELS:
                raise InputError(f"{name} has {file.width} x {file.height} pixels: choose a smaller image.")
            return square_rgb(file, resolution)
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        raise InputError(f"{name} is no image that can be read: choose a PNG, JPEG, WebP, BMP or GIF.") from error
