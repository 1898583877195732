"""The changes of adaptive augmentation against the matrices of the paper, made as often as their probability says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.augmentation.bgc import bgc, colors, geometry

MANY = 4000
KEYS = jax.random.split(jax.random.key(0), MANY)


def drawn(function, probability):
    return jax.tree.map(np.asarray, jax.vmap(lambda key: function(key, probability))(KEYS))


def of_side_64(key, probability):
    return geometry(64, key, probability)


@pytest.mark.parametrize("probability", [0.0, 0.1])
def test_changes_of_geometry_are_as_frequent_as_asked_for(probability):
    matrices, offsets = drawn(of_side_64, jnp.float32(probability))
    areas = np.linalg.det(matrices)
    # A mirror has another orientation; half of those that are asked for.
    np.testing.assert_allclose((areas < 0).mean(), probability / 2, atol=0.01)
    scaled = np.abs(np.abs(areas) - 1) > 1e-3
    np.testing.assert_allclose(scaled.mean(), probability, atol=0.02)
    axes = np.sort(np.abs(matrices).reshape(MANY, 4), axis=1)
    turned = (axes[:, 1] > 1e-3) & ~scaled & (np.abs(axes[:, 2] - axes[:, 3]) < 1e-3)
    np.testing.assert_allclose(turned.mean(), probability * (1 - probability) ** 2, atol=0.02)
    moved = np.abs(offsets).max(axis=1) > 1e-6
    np.testing.assert_allclose(moved.mean(), 1 - (1 - probability) ** 2, atol=0.02)


def test_strengths_of_geometry():
    matrices, offsets = drawn(of_side_64, jnp.float32(1))
    logarithms = np.log2(np.abs(np.linalg.det(matrices))) / 2
    np.testing.assert_allclose(logarithms.std(), 0.2, rtol=0.05)
    singular = np.linalg.svd(matrices, compute_uv=False)
    np.testing.assert_allclose(np.log2(singular[:, 0] / singular[:, 1]).mean() / 2, 0.2 * np.sqrt(2 / np.pi), rtol=0.05)
    # Moves by whole pixels are even up to an eighth of the side, those by fractions normal with that deviation.
    np.testing.assert_allclose((offsets / 64).std(), 0.125 * np.sqrt(1 + 1 / 3), rtol=0.07)


def test_colors_are_the_product_of_the_paper_s_matrices():
    """Of each image: the axis of greys keeps its direction, and what differs from grey is turned and scaled."""
    matrices, offsets = drawn(colors, jnp.float32(1))
    grey = np.ones(3) / np.sqrt(3)
    greys = matrices @ grey @ grey
    np.testing.assert_allclose(matrices @ grey, greys[:, None] * grey, atol=1e-5)
    np.testing.assert_allclose((greys < 0).mean(), 0.5, atol=0.03)
    np.testing.assert_allclose(np.log2(np.abs(greys)).std(), 0.5, rtol=0.05)
    np.testing.assert_allclose(offsets, offsets[:, :1] * np.ones(3), atol=1e-6)
    np.testing.assert_allclose((offsets[:, 0] / greys).std(), 0.2, rtol=0.05)

    across = np.eye(3) - np.outer(grey, grey)
    tints = matrices - greys[:, None, None] * np.outer(grey, grey)
    saturations = np.sqrt(np.square(tints).sum(axis=(1, 2)) / 2) / np.abs(greys)
    np.testing.assert_allclose(np.log2(saturations).std(), 1, rtol=0.05)
    products = tints @ tints.swapaxes(1, 2) / np.square(saturations * greys)[:, None, None]
    np.testing.assert_allclose(products, np.broadcast_to(across, products.shape), atol=1e-4)
    hues = np.arctan2((tints[:, 1, 0] - tints[:, 0, 1]) * np.sqrt(3) / 2, np.trace(tints, axis1=1, axis2=2) / 2)
    np.testing.assert_allclose(np.histogram(hues, 4, (-np.pi, np.pi))[0] / MANY, 0.25, atol=0.03)


def test_an_image_depends_on_its_own_key_and_its_gradients_are_finite():
    images = jax.random.uniform(jax.random.key(1), (8, 16, 16, 3), minval=-1.0)
    change = jax.jit(jax.vmap(lambda image, key: bgc(image, key, 0.7)))
    found = change(images, KEYS[:8])
    np.testing.assert_allclose(change(images[2:4], KEYS[2:4]), found[2:4], atol=1e-5)
    assert np.isfinite(found).all()
    gradients = jax.jit(jax.grad(lambda images: jnp.sum(jnp.square(change(images, KEYS[:8])))))(images)
    assert np.isfinite(gradients).all()
    assert (np.abs(gradients).max(axis=(1, 2, 3)) > 0).all()
