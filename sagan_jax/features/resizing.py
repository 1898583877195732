"""Resizes images to the input of a feature network, by products with matrices on the device.

Both methods are separable and linear, so one matrix per axis describes them completely.
"""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

RESIZES = ("legacy", "clean")


def resize_matrix(size: int, side: int, method: str) -> np.ndarray:
    """Returns the weights [side, size] float32 of the old pixels in each new one, along one axis.

    Args:
      size, side: old and new length.
      method: "legacy" for TensorFlow 1's bilinear, as in the original FID: without antialiasing, and with the corners,
        not the centres, of the first pixels aligned. "clean" for Pillow's bicubic in floating point, which is
        antialiased (Parmar et al. 2022, arXiv:2104.11222).
    """
    if method == "clean":  # the images of the unit vectors under Pillow's resize
        unit = Image.fromarray(np.eye(size, dtype=np.float32))
        return np.asarray(unit.resize((size, side), Image.Resampling.BICUBIC))
    position = np.arange(side) * (size / side)
    lower = position.astype(int)
    upper, part = np.minimum(lower + 1, size - 1), position - lower
    rows = np.arange(side)
    matrix = np.zeros((side, size))
    np.add.at(matrix, (rows, lower), 1 - part)
    np.add.at(matrix, (rows, upper), part)
    return matrix.astype(np.float32)


def resized(images: jax.Array, side: int, method: str) -> jax.Array:
    """Resizes pixels 0..255 [B, H, W, 3] of any dtype to [B, side, side, 3] float32 in 0..255, not rounded."""
    pixels = images.astype(jnp.float32)
    if images.shape[1:3] == (side, side):
        return pixels
    rows, columns = (resize_matrix(size, side, method) for size in images.shape[1:3])
    return jnp.clip(jnp.einsum("ph,qw,bhwc->bpqc", rows, columns, pixels, precision="highest"), 0, 255)
