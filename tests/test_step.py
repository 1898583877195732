"""The training step: same on any number of devices, and each part moves only what it should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Trainer, tiny_config

from sagan_jax.runtime.randomness import stream

KEY = stream(0, "train")


def assert_trees_close(first, second, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), first, second)


def gradients(trainer):
    """The gradients of both networks in the first step: Adam's first moment, since beta1 = 0."""
    state, metrics = trainer.run(trainer.fresh_state(), 1)
    return jax.device_get((state.generator.opt_state[0].mu, state.discriminator.opt_state[0].mu)), metrics


def relative_error(first, second):
    first, second = (np.concatenate([x.ravel() for x in jax.tree.leaves(t)]) for t in (first, second))
    return np.abs(first - second).max() / np.abs(second).max()


def test_first_gradients_are_the_same_on_1_2_and_8_devices(tiny_trainer):
    expected, expected_metrics = gradients(tiny_trainer)
    for devices in (2, 8):
        found, metrics = gradients(Trainer(tiny_config(), devices))
        assert relative_error(found, expected) < 1e-5
        assert_trees_close(metrics, expected_metrics, rtol=1e-4, atol=1e-5)


def test_metrics_are_complete_and_finite(tiny_trainer):
    state, metrics = tiny_trainer.run(tiny_trainer.fresh_state(), 1)
    assert set(metrics) == {
        *("d_loss", "g_loss", "real_logits", "fake_logits", "d_accuracy"),
        *("d_gradient_norm", "g_gradient_norm", "d_sigma_max", "g_sigma_max", "g_gamma_8", "d_gamma_8"),
    }
    assert all(np.isfinite(x) and x.shape == () for x in metrics.values())
    assert 0 <= metrics["d_accuracy"] <= 1
    assert metrics["g_gamma_8"] == state.generator.params["attention_8"]["gamma"] != 0


def test_step_counts_and_average_follows_the_generator(tiny_trainer):
    states = [tiny_trainer.fresh_state()]
    for _ in range(3):
        copied = jax.tree.map(jnp.copy, states[-1])
        states.append(tiny_trainer.run(copied, 1)[0])
    assert [int(s.step) for s in states] == [0, 1, 2, 3]
    # ema_start_step = 2: a copy up to there, then a decay of n / (n + 9) for the n-th step averaged.
    assert_trees_close(states[2].ema_params, states[2].generator.params, rtol=0)
    expected = jax.tree.map(lambda a, b: 0.1 * a + 0.9 * b, states[2].ema_params, states[3].generator.params)
    assert_trees_close(states[3].ema_params, expected, rtol=1e-5, atol=1e-7)


def test_each_network_updates_as_often_as_configured():
    config = tiny_config()
    config.train.discriminator_updates = 3
    state, _ = (trainer := Trainer(config)).run(trainer.fresh_state(), 2)
    assert int(state.discriminator.opt_state[0].count) == 6
    assert int(state.generator.opt_state[0].count) == 2


def test_power_iteration_moves_once_per_update(tiny_trainer):
    before = tiny_trainer.fresh_state()
    after, _ = tiny_trainer.run(jax.tree.map(jnp.copy, before), 1)
    for network in ("generator", "discriminator"):
        old, new = getattr(before, network), getattr(after, network)
        # Before its update the weights were the old ones, and so is the matrix that moved u.
        kernel = np.asarray(old.params["attention_8"]["value"]["kernel"])[0, 0]
        u = np.asarray(old.spectral_stats["attention_8"]["value"]["spectral_norm"]["u"])
        v = kernel @ u / np.linalg.norm(kernel @ u)
        expected = v @ kernel / np.linalg.norm(v @ kernel)
        found = new.spectral_stats["attention_8"]["value"]["spectral_norm"]["u"]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_accumulated_discriminator_gradients_equal_those_of_the_whole_batch(tiny_trainer):
    config = tiny_config()
    config.train.accumulation_steps = 4
    (_, expected), _ = gradients(tiny_trainer)
    (_, found), _ = gradients(Trainer(config))
    assert relative_error(found, expected) < 1e-5


def test_accumulation_and_several_devices_agree():
    config = tiny_config()
    config.train.accumulation_steps = 2
    expected, _ = gradients(Trainer(config))
    found, _ = gradients(Trainer(config, devices=8))
    assert relative_error(found, expected) < 1e-5


def test_learning_rates_are_separate(tiny_trainer):
    """With beta1 = 0 the first Adam update moves every weight by its network's learning rate."""
    before = tiny_trainer.fresh_state()
    after, _ = tiny_trainer.run(jax.tree.map(jnp.copy, before), 1)
    for network, rate in (("generator", 4e-4), ("discriminator", 1.6e-3)):
        old, new = (getattr(state, network).params["attention_8"]["gamma"] for state in (before, after))
        np.testing.assert_allclose(abs(new - old), rate, rtol=1e-3)


@pytest.mark.parametrize("change", ["unconditional", "bfloat16", "flip", "least_squares"])
def test_variants_take_finite_steps(change):
    config = tiny_config()
    match change:
        case "unconditional":
            config.model.num_classes = 0
        case "bfloat16":
            config.model.compute_dtype = "bfloat16"
        case "flip":
            config.data.flip = True
        case "least_squares":
            config.train.loss = "least_squares"
    state, metrics = (trainer := Trainer(config)).run(trainer.fresh_state(), 2)
    assert all(np.isfinite(x) for x in metrics.values())
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(state.generator.params))
    assert not any("embedding" in name for name in state.discriminator.params) or config.model.num_classes


def test_nothing_is_compiled_again_after_the_first_step(tiny_trainer):
    state, _ = tiny_trainer.run(tiny_trainer.fresh_state(), 1)
    compiled = tiny_trainer.step._cache_size()
    tiny_trainer.run(state, 3)
    assert tiny_trainer.step._cache_size() == compiled
