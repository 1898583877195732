"""Advice: said where the metrics show a pattern for some intervals in a row, once, and not where they do not."""

import pytest

from sagan_jax.training import advice
from sagan_jax.training.advice import INTERVALS, Adviser

HEALTHY = {
    "d_real_accuracy_training": 0.8,
    "d_real_accuracy_held_out": 0.7,
    "d_accuracy": 0.75,
    "gradient_ratio": 0.5,
    "sample_spread": 0.9,
    "augmentation_probability": 0.4,
}
SICK = {
    advice.LEARNED_BY_HEART: ({"d_real_accuracy_training": 1.0, "d_real_accuracy_held_out": 0.5}, "D calls 100% of"),
    advice.DISCRIMINATOR_AHEAD: ({"d_accuracy": 0.991}, "D tells 99.1% of real and generated images apart"),
    advice.GRADIENTS_APART: ({"gradient_ratio": 2e3}, "G's gradient is 2e+03 times as long as D's"),
    advice.SAMPLES_ALIKE: ({"sample_spread": 0.11}, "samples of a class differ 11% as much as its real images"),
    advice.AUGMENTATION_AT_ITS_END: ({"augmentation_probability": 0.95}, "augmentation has gone up to 95%"),
}


def said(capsys):
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("piece", advice.ALL)
def test_a_pattern_that_lasts_is_named_once(piece, capsys):
    changed, words = SICK[piece]
    adviser = Adviser()
    for step in range(INTERVALS - 1):
        adviser.look(step, HEALTHY | changed)
    assert not said(capsys)
    for step in range(INTERVALS - 1, 10):
        adviser.look(step, HEALTHY | changed)
    (line,) = said(capsys)
    assert line.startswith(f"advice at step {INTERVALS - 1}: {words}")
    assert "try" in line or "look at" in line or "would help" in line


def test_a_pattern_that_passes_is_not_named(capsys):
    adviser = Adviser()
    for step in range(20):
        adviser.look(step, HEALTHY | ({"d_accuracy": 1.0} if step % INTERVALS else {}))
    assert not said(capsys)


def test_healthy_metrics_and_missing_ones_need_no_advice(capsys):
    adviser = Adviser()
    for step in range(10):
        adviser.look(step, HEALTHY)
        adviser.look(step, {"d_loss": 1.0})
    assert not said(capsys)


def test_every_field_that_advice_names_is_there():
    from sagan_jax.config import default_config, flat_fields

    fields = flat_fields(default_config())
    for piece in advice.ALL:
        for word in piece.text.replace(";", " ").replace(",", " ").split():
            name = word.partition("=")[0]
            if name.startswith(("train.", "optimizer.", "data.")):
                assert name in fields, name
