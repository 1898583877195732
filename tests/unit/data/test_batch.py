"""Pixels as numbers, and mirrored images."""

import jax
import numpy as np

from sagan_jax.data.batch import random_flip, to_signed_float, to_uint8


def test_float_conversion_round_trips_every_value():
    values = np.arange(256, dtype=np.uint8)
    signed = to_signed_float(values)
    assert (signed.min(), signed.max()) == (-1, 1)
    np.testing.assert_array_equal(to_uint8(signed), values)


def test_flip_mirrors_about_half_of_the_images():
    images = np.broadcast_to(np.arange(4.0)[None, None, :, None], (400, 1, 4, 1))
    flipped = np.asarray(random_flip(images, jax.random.key(0)))
    mirrored = flipped[:, 0, 0, 0] == 3
    assert 150 < mirrored.sum() < 250
    np.testing.assert_array_equal(flipped[mirrored][0, 0, :, 0], [3, 2, 1, 0])
    np.testing.assert_array_equal(flipped[~mirrored][0, 0, :, 0], [0, 1, 2, 3])
