"""Resizes are those of the programs they are named after."""

import numpy as np
import pytest
from PIL import Image

from sagan_jax.features.resizing import resize_matrix, resized


@pytest.mark.parametrize("size", [32, 299, 400])
def test_legacy_resize_is_that_of_tensorflow_1(size):
    """Written out: the source of pixel i is i * size / 299, between its two neighbours, without antialiasing."""
    matrix = resize_matrix(size, 299, "legacy")
    signal = np.random.default_rng(0).random(size)
    expected = []
    for i in range(299):
        position = i * size / 299
        low = int(np.floor(position))
        high = min(low + 1, size - 1)
        expected.append(signal[low] + (signal[high] - signal[low]) * (position - low))
    np.testing.assert_allclose(matrix @ signal, expected, atol=1e-6)


@pytest.mark.parametrize("size", [20, 128, 400])
def test_clean_resize_is_that_of_pillow_in_floating_point(size):
    image = np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)
    channels = [Image.fromarray(image[..., c].astype(np.float32)) for c in range(3)]
    expected = [np.asarray(c.resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255) for c in channels]
    np.testing.assert_allclose(resized(image[None], 299, "clean")[0], np.stack(expected, -1), atol=1e-3)


@pytest.mark.parametrize("method", ["legacy", "clean"])
def test_images_of_the_right_size_stay_as_they_are(method):
    image = np.random.default_rng(0).integers(0, 256, (1, 299, 299, 3), np.uint8)
    np.testing.assert_array_equal(resized(image, 299, method), image)
