"""Losses and schedules against plain numpy."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.config import load_config
from sagan_jax.errors import InputError
from sagan_jax.objectives import losses
from sagan_jax.objectives.losses import LOSSES, adversarial_loss
from sagan_jax.training.optimizers import build_optimizers, learning_rate_schedule

pytestmark = pytest.mark.usefixtures("strict_dtypes")

REAL = np.asarray(jax.random.normal(jax.random.key(0), (64,)) * 3)
FAKE = np.asarray(jax.random.normal(jax.random.key(1), (64,)) * 3)


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


EXPECTED = {
    "hinge": (np.maximum(0, 1 - REAL).mean() + np.maximum(0, 1 + FAKE).mean(), -FAKE.mean()),
    "non_saturating": (
        -np.log(sigmoid(REAL)).mean() - np.log(1 - sigmoid(FAKE)).mean(),
        -np.log(sigmoid(FAKE)).mean(),
    ),
    "wasserstein": (FAKE.mean() - REAL.mean(), -FAKE.mean()),
    "relativistic": (-np.log(sigmoid(REAL - FAKE)).mean(), -np.log(sigmoid(FAKE - REAL)).mean()),
    "least_squares": (((REAL - 1) ** 2).mean() / 2 + (FAKE**2).mean() / 2, ((FAKE - 1) ** 2).mean() / 2),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    loss, real, fake = adversarial_loss(name), jnp.asarray(REAL), jnp.asarray(FAKE)
    np.testing.assert_allclose(loss.discriminator(real, fake), EXPECTED[name][0], rtol=1e-5)
    np.testing.assert_allclose(loss.generator(fake, lambda: real), EXPECTED[name][1], rtol=1e-5)


def test_unknown_loss_lists_the_choices():
    with pytest.raises(InputError, match="train.loss = 'wgan'.*hinge, non_saturating, wasserstein"):
        adversarial_loss("wgan")


def test_docstring_examples():
    assert doctest.testmod(losses).failed == 0


@pytest.mark.parametrize(
    ("schedule", "middle", "end"), [("constant", 1e-4, 1e-4), ("linear", 0.5e-4, 0.0), ("cosine", 0.5e-4, 0.0)]
)
def test_schedules_warm_up_and_decay(schedule, middle, end):
    config = load_config("imagenet128").optimizer.generator
    config.update(schedule=schedule, warmup_updates=20)
    rate = learning_rate_schedule(config, 120, "generator")
    assert rate(0) == 0
    np.testing.assert_allclose([rate(10), rate(20), rate(70), rate(120)], [0.5e-4, 1e-4, middle, end], atol=1e-10)


def test_unknown_schedule_names_the_network():
    config = load_config("imagenet128")
    config.optimizer.discriminator.schedule = "step"
    with pytest.raises(InputError, match="optimizer.discriminator.schedule = 'step'"):
        build_optimizers(config)
