"""A run that is continued ends exactly like one that never stopped."""

import json

import jax
import numpy as np
import pytest
from runs import newest_state
from tiny import tiny_config

from sagan_jax.errors import InputError
from sagan_jax.runtime.checkpoint import Checkpoints
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import make_mesh, replicated
from sagan_jax.training.continuation import initial_state
from sagan_jax.training.loop import prepare, train_and_evaluate
from sagan_jax.training.step_config import build_step_config


def config_for(steps, batch_size=16):
    config = tiny_config()
    config.train.update(steps=steps, batch_size=batch_size, discriminator_updates=2)
    # Statistics in the state.
    config.train.update(penalties="lecam:1", augmentations="translation", augmentation_target=0.6)
    config.data.update(flip=True, holdout=100)
    return config


def test_six_steps_equal_three_plus_three(tmp_path, capsys):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train_and_evaluate(config_for(6), str(whole))
    train_and_evaluate(config_for(3), str(halves))
    assert int(newest_state(halves, config_for(3)).step) == 3
    train_and_evaluate(config_for(6), str(halves))
    assert "continuing at step 3 of 6" in capsys.readouterr().out

    expected, found = newest_state(whole, config_for(6)), newest_state(halves, config_for(6))
    assert int(found.step) == 6
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert set(found.running) == {"average_real_logits", "average_fake_logits", "augmentation_probability"}
    assert found.running["average_real_logits"] != 0 != found.running["average_fake_logits"]

    rows = [json.loads(line) for line in (halves / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 3, 4, 6]
    last = json.loads((whole / "metrics.jsonl").read_text().splitlines()[-1])
    timings = {"steps_per_s", "images_per_s", "data_wait"}
    assert {name: rows[-1][name] for name in last.keys() - timings} == {
        name: last[name] for name in last.keys() - timings
    }
    np.testing.assert_array_equal(
        (whole / "samples" / "00000006.png").read_bytes(), (halves / "samples" / "00000006.png").read_bytes()
    )

    # A finished run is only measured and shown again; other settings are refused.
    train_and_evaluate(config_for(6), str(halves))
    assert "finished 6 steps" in capsys.readouterr().out
    with pytest.raises(InputError, match="train.batch_size = 32, but the run in .* was started with 16"):
        train_and_evaluate(config_for(6, batch_size=32), str(halves))
    with pytest.raises(InputError, match="train.steps = 5, but the run in .* has taken 6 steps already"):
        train_and_evaluate(config_for(5), str(halves))


def test_residency_changes_nothing_even_in_the_middle_of_a_run(tmp_path):
    """Indices into resident images and streamed batches, and both in turns, give the same weights."""
    states = []
    for name, parts in (("device", [(4, "device")]), ("turns", [(2, "host"), (4, "device")])):
        for steps, where in parts:
            config = config_for(steps)
            config.data.update(residency=where, real_class_sampling="uniform", class_sampling="empirical")
            train_and_evaluate(config, str(tmp_path / name))
        states.append(newest_state(tmp_path / name, config))
    jax.tree.map(np.testing.assert_array_equal, *states)
    assert int(states[0].step) == 4


def test_newest_and_milestone_checkpoints_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2, keep_every_steps=4)
    state = {"weights": jax.device_put(np.arange(3.0), replicated(make_mesh()))}
    for step in range(1, 8):
        checkpoints.save(step, state)
    checkpoints.close()
    assert sorted(int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()) == [4, 6, 7]


def test_fresh_state_depends_on_the_seed_alone(tmp_path):
    config = config_for(1)
    checkpoints = Checkpoints(tmp_path, 1, 100)
    first, second = (
        initial_state(config, build_step_config(config), make_mesh(jax.devices()[:n]), checkpoints) for n in (1, 8)
    )
    checkpoints.close()
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(first), jax.device_get(second))
    assert not (stream_key(0, "train") == stream_key(1, "train")).all()
    assert not (stream_key(0, "train") == stream_key(0, "sheet")).all()


def test_settings_count_only_once_something_is_saved(tmp_path):
    """A first attempt that ran out of memory, say, must not bind the second."""
    run, _ = prepare(config_for(2), tmp_path)
    run.checkpoints.close()
    run, state = prepare(config_for(2, batch_size=32), tmp_path)
    run.checkpoints.close()
    assert int(state.step) == 0
    assert json.loads((tmp_path / "config.json").read_text())["train"]["batch_size"] == 32
