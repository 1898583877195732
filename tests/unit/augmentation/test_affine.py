"""Affine maps of images: exact where pixels meet pixels, linear between, and mirrored beyond the edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.augmentation.affine import affine

SIDE = 12
IMAGE = jax.random.normal(jax.random.key(0), (SIDE, SIDE, 3))
ALONG = np.arange(SIDE) - (SIDE - 1) / 2
X, Y = np.meshgrid(ALONG, ALONG)


def mapped(matrix, offset=(0.0, 0.0), image=IMAGE):
    return np.asarray(jax.jit(affine)(image, jnp.asarray(matrix, jnp.float32), jnp.asarray(offset, jnp.float32)))


def turned(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


EXACT = {
    "nothing": ([[1, 0], [0, 1]], lambda image: image),
    "mirror": ([[-1, 0], [0, 1]], lambda image: image[:, ::-1]),
    "quarter": ([[0, 1], [-1, 0]], lambda image: np.rot90(image)[::-1, ::-1]),
    "half": ([[-1, 0], [0, -1]], lambda image: np.rot90(image, 2)),
    "transposed": ([[0, 1], [1, 0]], lambda image: image.swapaxes(0, 1)),
}


@pytest.mark.parametrize("case", EXACT)
def test_mirrors_and_right_angles_are_exact(case):
    matrix, expected = EXACT[case]
    np.testing.assert_allclose(mapped(matrix), expected(np.asarray(IMAGE)), atol=1e-6)


def test_moves_by_whole_pixels_are_exact_and_bring_in_the_mirror_image():
    padded = np.pad(np.asarray(IMAGE), ((4, 4), (4, 4), (0, 0)), mode="symmetric")
    np.testing.assert_allclose(mapped(np.eye(2), (3, -2)), padded[2 : 2 + SIDE, 7 : 7 + SIDE], atol=1e-6)


@pytest.mark.parametrize("angle", [0.3, 0.9, 2.0, -2.8])
def test_of_an_image_that_is_a_plane_it_is_the_plane_mapped(angle):
    """Which linear interpolation has no error for, where the map stays within the image."""
    matrix, offset = turned(angle) @ np.diag([0.7, 0.65]), (0.4, -0.3)
    plane = np.stack([2 * X - Y, X + 0.5 * Y, 1 + 0 * X], axis=-1)
    x = matrix[0, 0] * X + matrix[0, 1] * Y + offset[0]
    y = matrix[1, 0] * X + matrix[1, 1] * Y + offset[1]
    within = np.hypot(X, Y) < 4
    found = mapped(matrix, offset, jnp.asarray(plane, jnp.float32))
    expected = np.stack([2 * x - y, x + 0.5 * y, 1 + 0 * x], axis=-1)
    np.testing.assert_allclose(found[within], expected[within], atol=1e-4)
    np.testing.assert_allclose(found[..., 2], 1, atol=1e-6)


def test_turns_show_what_is_within_the_image_to_its_very_edges():
    """Also where a pass shrinks: nothing that lies within is mirrored. A smooth image: weights are wider there."""
    smooth = np.cos(X / 9)[..., None] * np.sin((Y + 2) / 9)[..., None] * np.ones(3)
    for angle in (0.7, np.pi / 4, 2.5):
        (a, b), (c, d) = matrix = turned(angle)
        x, y = a * X + b * Y, c * X + d * Y
        expected = np.cos(x / 9) * np.sin((y + 2) / 9)
        within = np.maximum(abs(x), abs(y)) < ALONG[-1]
        assert within[0].any()
        found = mapped(matrix, image=jnp.asarray(smooth, jnp.float32))[..., 0]
        np.testing.assert_allclose(found[within], expected[within], atol=0.05)


def test_places_that_lie_apart_take_the_mean_over_what_is_between():
    """Every other pixel alike: at half the size all is grey."""
    stripes = jnp.tile(jnp.array([1.0, -1.0]), SIDE // 2)[None, :, None] * jnp.ones((SIDE, 1, 3))
    found = mapped(np.diag([2.0, 1.0]), image=stripes)
    assert np.abs(found[:, 4:8]).max() < 0.3


def test_gradients_are_the_transposed_map():
    matrix, offset = jnp.asarray(turned(0.5), jnp.float32), jnp.array([0.3, 1.2])
    other = jax.random.normal(jax.random.key(1), IMAGE.shape)
    gradient = jax.grad(lambda image: jnp.sum(affine(image, matrix, offset) * other))(IMAGE)
    np.testing.assert_allclose(jnp.sum(gradient * IMAGE), jnp.sum(affine(IMAGE, matrix, offset) * other), rtol=1e-4)
