"""Policies of augmentation: their names, and the probability with which each change is made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.augmentation.policy import CHANGES, augmentation
from sagan_jax.errors import InputError

pytestmark = pytest.mark.usefixtures("strict_dtypes")


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(0), (64, 16, 16, 3), minval=-1.0)


@pytest.fixture(scope="module")
def keys():
    return jax.random.split(jax.random.key(1), 64)


def test_nothing_is_the_default(images, keys):
    assert augmentation("")(images, keys, 1.0) is images


def test_an_unknown_change_is_named():
    with pytest.raises(InputError, match="train.augmentations = .*unknown 'rotation': choose from color"):
        augmentation("color, rotation")


def test_the_same_policy_gives_the_same_function():
    assert augmentation("color,bgc") is augmentation("color,bgc")


@pytest.mark.parametrize("name", CHANGES)
def test_at_probability_0_images_come_back_as_they_are(images, keys, name):
    found = jax.jit(augmentation(name))(images, keys, jnp.float32(0))
    np.testing.assert_allclose(found, images, atol=1e-6)


@pytest.mark.parametrize("name", ["color", "translation", "cutout"])
def test_a_change_is_made_to_as_many_images_as_its_probability_says(images, name):
    augment = augmentation(name)
    many, keys = jnp.tile(images, (10, 1, 1, 1)), jax.random.split(jax.random.key(2), 640)
    always, found = augment(many, keys, 1.0), augment(many, keys, jnp.float32(0.3))
    changed = np.any(np.asarray(found != many), axis=(1, 2, 3))
    assert 0.2 < changed.mean() < 0.4
    np.testing.assert_array_equal(found[changed], always[changed])
