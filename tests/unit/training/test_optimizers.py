"""Learning rates, as they are logged, against those that the updates have had."""

import pytest

from sagan_jax.config import default_config
from sagan_jax.training.optimizers import learning_rates


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("constant", 1, (1e-4, 4e-4)),
        ("constant", 100, (1e-4, 4e-4)),
        ("linear", 1, (1e-4, 4e-4 * 199 / 200)),  # the second of two updates
        ("linear", 100, (1e-4 / 100, 4e-4 / 200)),
        ("cosine", 51, (0.5e-4, 0.5 * 4e-4)),
    ],
)
def test_they_are_those_of_the_last_updates(schedule, step, expected):
    config = default_config()
    config.train.update(steps=100, discriminator_updates=2)
    config.optimizer.generator.schedule = config.optimizer.discriminator.schedule = schedule
    found = learning_rates(config, step)
    assert found == pytest.approx(
        {"g_learning_rate": expected[0], "d_learning_rate": expected[1]}, rel=0.02 if schedule == "cosine" else 1e-5
    )


def test_a_warm_up_rises_from_0():
    config = default_config()
    config.optimizer.generator.warmup_updates = 10
    assert learning_rates(config, 1)["g_learning_rate"] == 0
    assert learning_rates(config, 6)["g_learning_rate"] == pytest.approx(0.5e-4)
