"""Penalties against closed forms, where a logit is a sum of squares; and what a policy may say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.errors import InputError
from sagan_jax.objectives.consistency import mirrored_and_moved
from sagan_jax.objectives.penalties import PENALTIES, build_penalties
from sagan_jax.objectives.penalty import PenaltyInputs

REAL = jax.random.normal(jax.random.key(0), (6, 4, 4, 3))
FAKE = jax.random.normal(jax.random.key(1), (6, 4, 4, 3))
LABELS = jnp.arange(6) % 3


NEAR = FAKE + 0.1 * jax.random.normal(jax.random.key(3), FAKE.shape)
PARAMS = {
    "layer": {"kernel": jax.random.normal(jax.random.key(4), (3, 3, 2, 5)), "bias": jnp.ones(5)},
    "wide": {"kernel": jax.random.normal(jax.random.key(5), (2, 7))},
    "embedding": {"kernel": jnp.ones((4, 4))},
}
RUNNING = {"average_real_logits": jnp.float32(30), "average_fake_logits": jnp.float32(-20)}
UPDATES = 5  # that the averages are of


def scores(images, labels):
    """Logits whose gradient at an image is (1 + label) times the image."""
    return (1 + labels) * jnp.sum(jnp.square(images), axis=(1, 2, 3)) / 2


def inputs(discriminate=scores, number=UPDATES, rows=slice(None)):
    return PenaltyInputs(
        real_images=REAL[rows],
        real_labels=LABELS[rows],
        fake_images=FAKE[rows],
        fake_labels=LABELS[::-1][rows],
        real_logits=lambda: discriminate(REAL[rows], LABELS[rows]),
        fake_logits=discriminate(FAKE[rows], LABELS[::-1][rows]),
        near_images=lambda: NEAR[rows],
        discriminate=discriminate,
        params=PARAMS,
        running=RUNNING,
        number=jnp.int32(number),
        keys=jax.random.split(jax.random.key(2), 6)[rows],
    )


def penalty(policy, **given):
    (built,) = build_penalties(policy)
    (term,) = filter(None, (built.discriminator, built.generator))
    return term(inputs(**given))


def squares(images, labels):
    return (1 + np.asarray(labels)) ** 2 * np.square(images).sum(axis=(1, 2, 3))


def between():
    """The points of the gradient penalty."""
    fraction = np.asarray([jax.random.uniform(key) for key in inputs().keys])[:, None, None, None]
    return fraction * REAL + (1 - fraction) * FAKE


def lecam():
    correction = 1 - 0.99**UPDATES
    above = np.maximum(0, scores(REAL, LABELS) + 20 / correction)
    below = np.maximum(0, 30 / correction - scores(FAKE, LABELS[::-1]))
    return np.square(above).mean() + np.square(below).mean()


def change(images, labels):
    return np.square(scores(images, labels) - scores(mirrored_and_moved(images, inputs().keys), labels)).mean()


def products_of_filters(kernel):
    matrix = np.asarray(kernel).reshape(-1, kernel.shape[-1])
    products = matrix.T @ matrix
    return np.square(products[~np.eye(len(products), dtype=bool)]).sum()


EXPECTED = {
    "r1": lambda: squares(REAL, LABELS).mean() / 2,
    "r2": lambda: squares(FAKE, LABELS[::-1]).mean() / 2,
    "gradient_penalty": lambda: np.square(np.sqrt(squares(between(), LABELS)) - 1).mean(),
    "lecam": lecam,
    "bcr": lambda: change(REAL, LABELS) + change(FAKE, LABELS[::-1]),
    "zcr_d": lambda: np.square(scores(FAKE, LABELS[::-1]) - scores(NEAR, LABELS[::-1])).mean(),
    "zcr_g": lambda: -np.square(FAKE - NEAR).mean(),
    "orthogonality": lambda: sum(products_of_filters(PARAMS[name]["kernel"]) for name in ("layer", "wide")),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_each_is_its_closed_form(name):
    np.testing.assert_allclose(penalty(f"{name}:3"), 3 * EXPECTED[name](), rtol=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_the_mean_over_pieces_is_that_of_the_batch(name):
    pieces = [penalty(f"{name}:1", rows=slice(start, None, 2)) for start in (0, 1)]
    np.testing.assert_allclose(np.mean(pieces), penalty(f"{name}:1"), rtol=1e-5)


def test_a_lazy_penalty_is_as_strong_on_the_whole():
    strengths = [penalty("r1:0.5,every=4", number=number) for number in range(8)]
    assert [strength == 0 for strength in strengths] == [False, True, True, True] * 2
    np.testing.assert_allclose(np.mean(strengths), penalty("r1:0.5"), rtol=1e-6)


@pytest.mark.parametrize("name", PENALTIES)
def test_weights_have_finite_gradients_even_where_images_have_none(name):
    def of(weight):
        return penalty(f"{name}:1", discriminate=lambda images, labels: weight * 0 * scores(images, labels))

    assert np.isfinite(jax.grad(of)(1.0))


def test_the_same_policy_gives_the_same_functions_and_none_gives_none():
    assert build_penalties("r1:1,r2:2,every=4") is build_penalties("r1:1,r2:2,every=4")
    assert [built.name for built in build_penalties("r1:1, every=2, r2:2")] == ["r1", "r2"]
    assert build_penalties("") == ()


WRONG = {
    "r3:1": "unknown 'r3': choose from r1, r2, gradient_penalty, lecam",
    "r1:1,r1:2": "has r1 twice",
    "r1": "has '' where a positive number belongs",
    "r1:-1": "has '-1' where a positive number belongs",
    "r1:nan": "has 'nan' where a positive number belongs",
    "r1:1,every=0": "has '0' where a positive whole number below 100,000,000 belongs",
    "r1:1,every=1.5": "has '1.5' where a positive whole number below",
    "r1:1,every=10000000000": "has '10000000000' where a positive whole number below",
    "r1:1,every=4,every=8": "has every= twice after r1",
    "every=4": "begins with an option",
}


@pytest.mark.parametrize("policy", WRONG)
def test_a_policy_of_another_form_gets_one_sentence(policy):
    with pytest.raises(InputError, match=f"train.penalties = '{policy}'") as caught:
        build_penalties(policy)
    assert WRONG[policy] in str(caught.value)
