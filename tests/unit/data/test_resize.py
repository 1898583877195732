"""Any picture becomes a square of RGB."""

import numpy as np
import pytest
from PIL import Image

from sagan_jax.data.resize import FILTERS, square_rgb


def gradient_image(mode):
    ramp = np.linspace(0, 255, 40, dtype=np.uint8)[None].repeat(20, 0)
    return Image.fromarray(ramp).convert(mode)


def test_16_bit_grey_keeps_its_range():
    ramp = np.linspace(0, 65_535, 16).round().astype(np.uint16)[None].repeat(16, 0)
    image = square_rgb(Image.fromarray(ramp), 16)
    np.testing.assert_array_equal(image[3, :, 1], (ramp[0] / 257).round())


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "CMYK", "1"])
def test_any_mode_becomes_square_rgb(mode):
    image = square_rgb(gradient_image(mode), 16)
    assert (image.shape, image.dtype) == ((16, 16, 3), np.uint8)
    assert image[8, 1].mean() < 100 < 150 < image[8, 14].mean()


def test_crop_is_central_and_the_right_size_passes_unchanged():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_array_equal(square_rgb(Image.fromarray(pixels), 16), pixels)
    wide = np.concatenate([np.zeros_like(pixels), pixels, np.zeros_like(pixels)], axis=1)
    np.testing.assert_array_equal(square_rgb(Image.fromarray(wide), 16), pixels)


@pytest.mark.parametrize("image", [Image.new("F", (16, 16), 0.5), Image.new("I", (16, 16), 70_000)])
def test_pixels_of_unknown_range_are_refused(image):
    with pytest.raises(ValueError, match="no known range"):
        square_rgb(image, 16)


def test_the_whole_image_can_be_squeezed():
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, :16] = 255
    squeezed = square_rgb(Image.fromarray(wide), 16, crop="squeeze")
    assert squeezed[8, 2, 0] > 240
    assert squeezed[8, 12, 0] < 15
    assert square_rgb(Image.fromarray(wide), 16).max() == 0


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_averages_fine_stripes_away(name):
    """A filter that is not antialiased would pick single stripes."""
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small = square_rgb(Image.fromarray(stripes), 16, filter_name=name)
    assert np.abs(small[2:-2, 2:-2].astype(int) - 127.5).max() < 4


def test_camera_orientation_is_applied():
    image = Image.new("RGB", (16, 16), "black")
    image.paste("white", (0, 0, 8, 16))
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees
    assert square_rgb(image, 16)[2, 8, 0] == 255


def test_transparent_pixels_become_white():
    assert (square_rgb(Image.new("RGBA", (16, 16), (0, 0, 0, 0)), 16) == 255).all()
