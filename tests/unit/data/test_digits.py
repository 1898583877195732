"""The handwritten digits are the real ones."""

import numpy as np

from sagan_jax.data.digits import Digits


def test_digits_are_the_real_ones():
    digits = Digits(16)
    assert len(digits) == 1797
    (image,), (label,) = digits.load(np.array([0]))
    assert (image.shape, image.dtype, label) == ((16, 16, 3), np.uint8, 0)
    assert (image[..., 0] == image[..., 1]).all()
    assert np.bincount(digits.labels).min() > 150
