"""Signals of a run: the discriminator's opinion of training images and of held-out ones, the same on any devices."""

import jax
import numpy as np
import pytest
from tiny import Trainer, tiny_config

from sagan_jax.data.batch import to_signed_float
from sagan_jax.data.digits import Digits
from sagan_jax.data.holdout import Split, hold_out
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.training.signals import LOOKED_AT, Signals


@pytest.fixture(scope="module")
def trainer():
    return Trainer(tiny_config())


def expected_logits(trainer, state, images, labels):
    discriminator = trainer.step_config.networks.discriminator
    return discriminator.apply(state.discriminator.variables, to_signed_float(images), labels)


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("held_out", [300, 21])
def test_accuracies_are_the_share_of_images_that_count_as_real(trainer, devices, held_out):
    state = trainer.fresh_state()
    split = hold_out(Digits(16), held_out)
    mesh = make_mesh(jax.devices()[:devices])
    signals = Signals(trainer.step_config, split, mesh, conditional=True)
    state = jax.device_put(state, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    found = signals.accuracies(state)
    assert set(found) == {"d_real_accuracy_training", "d_real_accuracy_held_out"}
    for name, source in (("training", split.training), ("held_out", split.held_out)):
        looked_at = np.linspace(0, len(source) - 1, min(LOOKED_AT, len(source))).round().astype(int)
        expected = np.mean(np.asarray(expected_logits(trainer, trainer.fresh_state(), *source.load(looked_at))) > 0)
        np.testing.assert_allclose(found[f"d_real_accuracy_{name}"], expected, atol=0.005)
        assert 0 < expected < 1


def test_logits_are_of_generated_images_too(trainer):
    state, split = trainer.fresh_state(), hold_out(Digits(16), 100)
    signals = Signals(trainer.step_config, split, trainer.mesh, conditional=True)
    images, labels = Digits(16).load(np.arange(10))
    found = signals.logits(state, images, labels)
    assert {name: len(logits) for name, logits in found.items()} == {
        "logits/generated": 10,
        "logits/training": LOOKED_AT,
        "logits/held_out": 100,
    }
    np.testing.assert_allclose(found["logits/generated"], expected_logits(trainer, state, images, labels), atol=1e-5)


def test_without_held_out_images_nothing_is_measured_between_pictures(trainer):
    signals = Signals(trainer.step_config, Split(Digits(16), None), trainer.mesh, conditional=True)
    assert signals.accuracies(trainer.fresh_state()) == {}
