"""Top-k training: gradients of the best images alone, and as large as those of the mean over these."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.objectives.losses import LOSSES
from sagan_jax.objectives.top_k import annealed_fraction, learn_from_top

FAKE = jnp.array([0.5, -1.0, 2.0, 0.1, -0.3, 1.5, -2.0, 0.7])
REAL = jnp.array([1.0, 0.4, -0.2, 0.9, 1.1, 0.3, 0.6, 0.8])
BEST = jnp.array([2, 5, 7])


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_loss_of_the_best_images(name):
    def loss(fake, real):
        return LOSSES[name].generator(fake, lambda: real)

    value, found = jax.value_and_grad(lambda fake: loss(learn_from_top(jnp.float32(3 / 8), fake), REAL))(FAKE)
    np.testing.assert_allclose(value, loss(FAKE, REAL), rtol=1e-6)
    expected = jnp.zeros(8).at[BEST].set(jax.grad(loss)(FAKE[BEST], REAL[BEST]))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_equal_images_are_learned_from_alike():
    found = jax.grad(lambda fake: -jnp.mean(learn_from_top(jnp.float32(0.5), fake)))(jnp.zeros(8))
    np.testing.assert_allclose(found, np.full(8, -1 / 8))


def test_at_least_one_image_is_learned_from():
    found = jax.grad(lambda fake: jnp.mean(learn_from_top(jnp.float32(0.01), fake)))(FAKE)
    np.testing.assert_array_equal(np.flatnonzero(found), [2])


def test_the_fraction_falls_evenly_and_stays():
    fractions = [float(annealed_fraction(0.5, 100, jnp.int32(step))) for step in (0, 50, 100, 1000)]
    np.testing.assert_allclose(fractions, [1, 0.75, 0.5, 0.5])
