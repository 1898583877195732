"""The training step: same on any number of devices, and each part moves only what it should."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import Trainer, tiny_config

from sagan_jax.training.dispatch import compile_steps


@pytest.fixture(scope="module")
def accumulating_trainer():
    config = tiny_config()
    config.train.accumulation_steps = 2
    return Trainer(config)


def assert_trees_close(first, second, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), first, second)


def gradients(trainer):
    """The gradients of both networks in one step: Adam's first moment, since beta1 = 0.

    From gates that are open, so that the attention layers have gradients as well.
    """
    state = trainer.fresh_state()
    for network in (state.generator, state.discriminator):
        network.params["attention_8"]["gamma"] += 0.5
    state, metrics = trainer.run(state, 1)
    return jax.device_get((state.generator.opt_state[0].mu, state.discriminator.opt_state[0].mu)), metrics


def assert_same_gradients(found, expected, tolerance=1e-5):
    """Equal to 1e-5, or another tolerance, of each parameter's largest gradient.

    Biases that batch norm cancels have none but rounding errors, which the floor of 1e-6 lets pass.
    """

    def check(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max() + 1e-6)

    jax.tree.map(check, found, expected)


def test_attention_has_gradients_in_the_comparisons_below(tiny_trainer):
    (generator, discriminator), _ = gradients(tiny_trainer)
    for network in (generator, discriminator):
        assert np.abs(network["attention_8"]["value"]["kernel"]).max() > 1e-3


def test_first_gradients_are_the_same_on_one_and_on_eight_devices(tiny_trainer):
    expected, expected_metrics = gradients(tiny_trainer)
    found, metrics = gradients(Trainer(tiny_config(), devices=8))
    assert_same_gradients(found, expected)
    assert_trees_close(metrics, expected_metrics, rtol=1e-4, atol=1e-5)


def test_metrics_are_complete_and_finite(tiny_trainer):
    state, metrics = tiny_trainer.run(tiny_trainer.fresh_state(), 1)
    assert set(metrics) == {
        *("d_loss", "g_loss", "real_logits", "fake_logits", "d_real_accuracy", "d_accuracy"),
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


def numpy_power_iteration(network, block):
    matrix = np.asarray(network.params[block]["conv_0"]["kernel"], np.float64)
    matrix = matrix.reshape(-1, matrix.shape[-1])
    u = np.asarray(network.spectral_stats[block]["conv_0"]["u"], np.float64)
    v = matrix @ u / np.linalg.norm(matrix @ u)
    return v @ matrix / np.linalg.norm(v @ matrix)


@pytest.mark.parametrize("trainer", ["tiny_trainer", "accumulating_trainer"])
def test_power_iteration_moves_once_per_update(trainer, request):
    """Also with accumulation: the pieces of an update all start from the same u."""
    trainer = request.getfixturevalue(trainer)
    before = trainer.fresh_state()
    for network, block in (("generator", "block_8"), ("discriminator", "block_1")):
        stats = getattr(before, network).spectral_stats[block]["conv_0"]
        stats["u"] = jnp.full_like(stats["u"], len(stats["u"]) ** -0.5)  # those of `init` hardly move any more
    after, _ = trainer.run(jax.tree.map(jnp.copy, before), 1)
    for network, block in (("generator", "block_8"), ("discriminator", "block_1")):
        old, new = getattr(before, network), getattr(after, network)
        found = new.spectral_stats[block]["conv_0"]["u"]
        assert len(found) >= 4
        np.testing.assert_allclose(found, numpy_power_iteration(old, block), atol=1e-5)
        assert np.abs(found - old.spectral_stats[block]["conv_0"]["u"]).max() > 1e-3


def test_accumulated_discriminator_gradients_equal_those_of_the_whole_batch(tiny_trainer, accumulating_trainer):
    (_, expected), _ = gradients(tiny_trainer)
    (_, found), _ = gradients(accumulating_trainer)
    assert_same_gradients(found, expected)


def test_accumulation_and_several_devices_agree(accumulating_trainer):
    config = accumulating_trainer.config
    expected, _ = gradients(accumulating_trainer)
    found, _ = gradients(Trainer(config, devices=8))
    assert_same_gradients(found, expected)


# r2 and the gradient penalty are r1 at other images.
PENALTIES = "r1:1,every=2,lecam:1,bcr:1,zcr_d:1,zcr_g:1,orthogonality:0.1"
RUNNING = {"average_real_logits": 0.3, "average_fake_logits": -0.2, "augmentation_probability": 0.5}


def with_everything(devices, pieces):
    """A trainer with all penalties, augmentations and statistics, after some steps; loops are not written out."""
    config = tiny_config()
    config.train.update(augmentations="cutout,bgc", augmentation_target=0.6, penalties=PENALTIES)
    config.train.accumulation_steps = pieces
    trainer = Trainer(config, devices)
    trainer.step = compile_steps(dataclasses.replace(trainer.step_config, unroll=False), trainer.mesh, 16)
    running = {name: jnp.float32(value) for name, value in RUNNING.items()}
    trainer.first = jax.device_get(trainer.fresh_state().replace(step=jnp.int32(4), running=running))
    return trainer


@pytest.fixture(scope="module")
def everything():
    return with_everything(devices=1, pieces=1)


def test_with_everything_the_discriminator_learns_the_same_on_several_devices_in_pieces(everything):
    (_, expected), expected_metrics = gradients(everything)
    (_, found), metrics = gradients(with_everything(devices=8, pieces=2))
    # On several devices images are rounded otherwise where they are augmented, which moves maxima of the attention's
    # pooling: 2e-4 there, and 4e-6 in pieces on one device.
    assert_same_gradients(found, expected, tolerance=1e-3)
    assert {"d_r1", "d_lecam", "d_zcr_d", "g_zcr_g", "g_orthogonality", *RUNNING} <= metrics.keys()
    for name in metrics:
        if name.startswith("d_") or name in ("g_orthogonality", *RUNNING):  # a piece of G's has moments of its own
            np.testing.assert_allclose(metrics[name], expected_metrics[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_statistics_follow_the_discriminator_from_update_to_update(everything):
    state, metrics = everything.run(everything.fresh_state(), 1)
    for name in ("real_logits", "fake_logits"):
        expected = 0.99 * RUNNING[f"average_{name}"] + 0.01 * metrics[name]
        np.testing.assert_allclose(state.running[f"average_{name}"], expected, rtol=1e-5)
    way = np.sign(2 * metrics["d_real_accuracy"] - 1 - 0.6)
    expected = 0.5 + way * everything.config.train.batch_size / 500_000
    np.testing.assert_allclose(state.running["augmentation_probability"], expected, rtol=1e-6)


def test_without_additions_nothing_is_carried(tiny_trainer):
    assert tiny_trainer.fresh_state().running == {}


def test_the_discriminator_sees_augmented_images_only():
    """An augmentation that leaves nothing leaves nothing to tell apart, and nothing to learn for the generator."""
    config = tiny_config()
    config.model.num_classes = 0
    trainer = Trainer(config)
    trainer.step = compile_steps(
        dataclasses.replace(trainer.step_config, augment=lambda images, keys, probability: 0 * images), trainer.mesh, 16
    )
    (generator, discriminator), metrics = gradients(trainer)
    assert metrics["real_logits"] == metrics["fake_logits"]
    assert all(np.abs(x).max() == 0 for x in jax.tree.leaves(generator))
    assert all(np.abs(x).max() < 1e-6 for x in jax.tree.leaves(discriminator["block_0"]["conv_0"]["kernel"]))


def test_rematerialised_blocks_have_the_same_gradients(tiny_trainer):
    config = tiny_config()
    config.model.rematerialize = True
    expected, _ = gradients(tiny_trainer)
    found, _ = gradients(trainer := Trainer(config))
    assert_same_gradients(found, expected)
    arguments = (trainer.fresh_state(), None, (trainer.batch(0),), jax.random.key(0))
    assert "optimization_barrier" in trainer.step.lower(*arguments).as_text()


def test_learning_rates_are_separate(tiny_trainer):
    """With beta1 = 0 the first Adam update moves every weight by its network's learning rate."""
    before = tiny_trainer.fresh_state()
    after, _ = tiny_trainer.run(jax.tree.map(jnp.copy, before), 1)
    for network, rate in (("generator", 8e-4), ("discriminator", 3.2e-3)):
        old, new = (getattr(state, network).params["attention_8"]["gamma"] for state in (before, after))
        np.testing.assert_allclose(abs(new - old), rate, rtol=1e-3)


def test_variants_take_finite_steps():
    """Unconditional, in bfloat16, with flipped images and least squares, all at once."""
    config = tiny_config()
    config.model.update(num_classes=0, compute_dtype="bfloat16")
    config.data.flip = True
    config.train.loss = "least_squares"
    state, metrics = (trainer := Trainer(config)).run(trainer.fresh_state(), 2)
    assert all(np.isfinite(x) for x in metrics.values())
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(state.generator.params))
    assert not any("embedding" in name for name in state.discriminator.params)


def test_nothing_is_compiled_again_after_the_first_step(tiny_trainer):
    state, _ = tiny_trainer.run(tiny_trainer.fresh_state(), 1)
    compiled = tiny_trainer.step._cache_size()
    tiny_trainer.run(state, 3)
    assert tiny_trainer.step._cache_size() == compiled
