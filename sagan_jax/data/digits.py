"""scikit-learn's 1,797 real handwritten digits (8x8, from the UCI archive): real data that needs no download."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from sagan_jax.data.arrays import ArrayImages

SIDE = 8  # pixels, as recorded
LEVELS = 16  # grey values run from 0 to this


class Digits(ArrayImages):
    """The digits as RGB images, resized once by Pillow's bicubic filter.

    Args:
      resolution: side in pixels.
    """

    def __init__(self, resolution: int):
        grey, labels = load_digits(return_X_y=True)
        grey = np.round(grey.reshape(-1, SIDE, SIDE) * (255 / LEVELS)).astype(np.uint8)
        images = np.stack([_resized_rgb(image, resolution) for image in grey])
        super().__init__("digits", images, labels.astype(np.int32), [str(digit) for digit in range(10)])


def _resized_rgb(grey: np.ndarray, resolution: int) -> np.ndarray:
    image = Image.fromarray(grey).resize((resolution, resolution), Image.Resampling.BICUBIC)
    return np.asarray(image.convert("RGB"))
