"""Color, translation and cutout: what they do to images, and that gradients pass through them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.augmentation.policy import augmentation

pytestmark = pytest.mark.usefixtures("strict_dtypes")

SIDE = 16


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(0), (64, SIDE, SIDE, 3), minval=-1.0)


@pytest.fixture(scope="module")
def keys():
    return jax.random.split(jax.random.key(1), 64)


def moved(image, down, right):
    found = np.zeros_like(image)
    height, width, _ = image.shape
    rows, columns = range(max(0, down), height + min(0, down)), range(max(0, right), width + min(0, right))
    for row in rows:
        for column in columns:
            found[row, column] = image[row - down, column - right]
    return found


def test_translation_moves_by_up_to_an_eighth_of_the_side(images, keys):
    found, seen = np.asarray(augmentation("translation")(images, keys, 1.0)), set()
    for before, after in zip(np.asarray(images), found, strict=True):
        fitting = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(moved(before, down, right), after)
        ]
        assert len(fitting) == 1
        seen |= set(fitting)
    assert len(seen) > 15  # of 25


@pytest.mark.parametrize("side", [16, 10, 9])
def test_cutout_greys_a_square_of_half_the_side_cut_off_at_the_border(side):
    """As in the authors' code: a centre from `side` places, or one more where the square's side is even."""
    length = (side + 1) // 2
    expected = set()
    for centre in range(side + 1 - length % 2):
        begin = centre - length // 2
        expected.add((max(0, begin), min(side, begin + length)))
    images = jax.random.uniform(jax.random.key(0), (400, side, side, 3), minval=0.5)
    found = np.asarray(augmentation("cutout")(images, jax.random.split(jax.random.key(1), 400), 1.0))
    untouched = found == np.asarray(images)
    assert (found[~untouched] == 0).all()
    seen = set()
    for hole in ~untouched.all(axis=-1):
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert hole.sum() == len(rows) * len(columns)
        seen |= {(rows[0], rows[-1] + 1), (columns[0], columns[-1] + 1)}
    assert seen == expected


def test_color_changes_brightness_saturation_and_contrast_only(images, keys):
    found, before = np.asarray(augmentation("color")(images, keys, 1.0)), np.asarray(images)

    def parts(images):
        grey = images.mean(axis=-1, keepdims=True)
        mean = images.mean(axis=(1, 2, 3), keepdims=True)
        return mean.ravel(), grey - mean, images - grey

    (mean, shades, tints), (old_mean, old_shades, old_tints) = parts(found), parts(before)
    brightness = mean - old_mean
    assert np.abs(brightness).max() <= 0.5 + 1e-6
    contrast, spread = (
        new.std(axis=(1, 2, 3)) / old.std(axis=(1, 2, 3)) for new, old in ((shades, old_shades), (tints, old_tints))
    )
    assert contrast.min() >= 0.5 - 1e-5
    assert contrast.max() <= 1.5 + 1e-5
    saturation = spread / contrast
    assert saturation.max() <= 2 + 1e-5
    np.testing.assert_allclose(shades, contrast[:, None, None, None] * old_shades, atol=1e-5)
    np.testing.assert_allclose(tints, spread[:, None, None, None] * old_tints, atol=1e-5)
    assert min(brightness.std() / 0.289, contrast.std() / 0.289, saturation.std() / 0.577) > 0.8  # of uniform draws


def test_an_image_depends_on_its_own_key_alone(images, keys):
    augment = augmentation("color,translation,cutout")
    np.testing.assert_allclose(augment(images[5:9], keys[5:9], 1.0), augment(images, keys, 1.0)[5:9], atol=1e-6)


def test_gradients_pass_through(images, keys):
    augment = augmentation("translation,cutout")
    gradient = jax.grad(lambda images: jnp.sum(augment(images, keys, 1.0)))(images)
    assert set(np.unique(gradient)) == {0.0, 1.0}  # of each pixel that is still there
    np.testing.assert_array_equal(
        gradient.sum(axis=(1, 2)), (augment(jnp.ones_like(images), keys, 1.0)).sum(axis=(1, 2))
    )
