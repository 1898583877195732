"""Two ways to bring images to the side that a feature network wants, as products with matrices on the device.

Both resize rows and columns independently and linearly, so a matrix for each side is all there is to them.
"""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

RESIZES = ("legacy", "clean")


def resize_matrix(size: int, side: int, method: str) -> np.ndarray:
    """[side, size] float32: what each of the new pixels takes of the old ones along one axis.

    Args:
      size, side: old and new length.
      method: "legacy" for TensorFlow 1's bilinear, as the original FID was computed: no antialiasing, and the
        first pixels' corners, not centres, aligned. "clean" for Pillow's bicubic in floating point, which is
        antialiased (Parmar et al. 2022, arXiv:2104.11222).
    """
    if method == "clean":  # what Pillow does to the unit vectors
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
    """Pixels 0..255 [B, H, W, 3] of any dtype -> [B, side, side, 3] float32 in 0..255, not rounded."""
    pixels = images.astype(jnp.float32)
    if images.shape[1:3] == (side, side):
        return pixels
    rows, columns = (resize_matrix(size, side, method) for size in images.shape[1:3])
    return jnp.clip(jnp.einsum("ph,qw,bhwc->bpqc", rows, columns, pixels, precision="highest"), 0, 255)
