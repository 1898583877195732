"""A network that diverges: it is named, its state is kept, and the run ends or goes back."""

import json

import jax
import numpy as np
import pytest
from runs import config_for

from sagan_jax.errors import DivergedError
from sagan_jax.runtime.interruption import StopRequest
from sagan_jax.runtime.watchdog import Watchdog
from sagan_jax.training import ranges
from sagan_jax.training.divergence import Rollbacks
from sagan_jax.training.loop import prepare, train, train_and_evaluate


def broken(state, network):
    params = getattr(state, network).params
    params["attention_8"]["gamma"] *= np.nan
    return state


def train_on(run, state):
    return train(run, state, StopRequest(), Watchdog(0))


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_network_that_diverges_is_named_and_its_state_kept(tmp_path, network):
    config = config_for(4)
    config.log.every_steps = config.checkpoint.every_steps = 4  # found at the end, begun at step 1
    run, state = prepare(config, tmp_path)
    run.checkpoints.save(0, state)
    with pytest.raises(DivergedError, match=r"is nan at step 1 \(the newest checkpoint is that of step 0\)") as caught:
        train_on(run, broken(state, network))
    # The images of a broken generator break the discriminator in the same step, but not what it says of real ones.
    sign = {"generator": "fake_logits", "discriminator": "real_logits"}[network]
    assert str(caught.value).startswith(f"the {network} has diverged: {sign} is nan")
    assert "or let it go back with faults.on_nan=rollback" in str(caught.value)
    run.close()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()] == ["0"]
    assert (tmp_path / "diverged" / "00000004").is_dir()


def test_a_loss_that_explodes_has_diverged(tmp_path):
    config = config_for(4)
    config.faults.largest_loss = 1e-3
    with pytest.raises(DivergedError, match=r"diverged: d_loss is [\d.]+ at step 1 \(nothing was saved yet\)"):
        train_and_evaluate(config, str(tmp_path))


def test_a_run_that_goes_back_takes_other_steps_and_remembers_it(tmp_path, capsys):
    config = config_for(4)
    config.faults.on_nan = "rollback"
    states = []
    runs = {"undisturbed": (4,), "back": (4,), "back and resumed": (2, 4), "stopped and back": (4,)}
    for name, stops in runs.items():
        for steps in stops:
            config.train.steps = steps
            run, state = prepare(config, tmp_path / name)
            if steps == stops[0] and "back" in name:
                run.save(0, state, wait=True)
                if "stopped" in name:  # to which it does not go back, so stops change nothing
                    run.save(1, state, wait=True, stop=True)
                state = broken(state, "generator")
            state = train_on(run, state)
            run.close()
        states.append(jax.device_get(state))
    for found in states[2:]:
        jax.tree.map(np.testing.assert_array_equal, states[1], found)
    usual, other = (state.generator.params["dense"]["kernel"] for state in states[:2])
    assert not np.array_equal(usual, other)
    (entry,) = json.loads((tmp_path / "back and resumed" / "rollbacks.json").read_text())
    assert entry["step"] == 0
    assert "going back, time 1 of 3 (the newest checkpoint is that of step 0), with other" in capsys.readouterr().err
    steps = [json.loads(line)["step"] for line in (tmp_path / "back" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]


@pytest.fixture
def rates_that_diverge(monkeypatch):
    """Learning rates that break a network in one step, which are refused otherwise."""
    for network in ("generator", "discriminator"):
        monkeypatch.setitem(ranges.RANGES, f"optimizer.{network}.learning_rate", ranges.Range(0, 1e38))


@pytest.mark.usefixtures("rates_that_diverge")
def test_a_run_goes_back_only_so_often(tmp_path):
    config = config_for(4)
    config.faults.update(on_nan="rollback", most_rollbacks=2)
    config.optimizer.generator.learning_rate = 1e38
    with pytest.raises(DivergedError, match="after going back 2 times.*compute_dtype=float32.$"):
        train_and_evaluate(config, str(tmp_path))
    assert len(json.loads((tmp_path / "rollbacks.json").read_text())) == 2


@pytest.mark.usefixtures("rates_that_diverge")
def test_weights_of_no_use_are_never_saved(tmp_path):
    """The update of the first step breaks them; its metrics are those from before."""
    config = config_for(2)
    config.checkpoint.every_steps = 1
    config.optimizer.generator.learning_rate = 1e38
    with pytest.raises(DivergedError, match="the generator has diverged: its weights are infinite .* at step 1 "):
        train_and_evaluate(config, str(tmp_path))
    assert not list((tmp_path / "checkpoints").iterdir())
    assert (tmp_path / "diverged" / "00000001").is_dir()


@pytest.mark.parametrize(("saved", "kept"), [(None, []), (0, [0]), (8, [0, 8]), (20, [0, 8, 12])])
def test_only_what_a_run_has_really_gone_through_counts(tmp_path, saved, kept):
    """Times gone back that an attempt without a checkpoint left behind, or that are later than the newest, do not."""
    file = tmp_path / "rollbacks.json"
    file.write_text(json.dumps([{"step": step, "reason": ""} for step in (0, 8, 12)]))
    keys = [Rollbacks(tmp_path, step).key(0) for step in (saved, 20)]
    assert [entry["step"] for entry in json.loads(file.read_text())] == kept
    assert jax.random.key_data(keys[0]).tolist() == jax.random.key_data(keys[1]).tolist()
