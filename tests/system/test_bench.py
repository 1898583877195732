"""The benchmarks run, in their smallest form, and their figures make sense."""

import json
import os
import subprocess
import sys
import types

import experiment
import jax
import numpy as np
import pytest
import quality
from places import ROOT, WITHOUT_TENSORFLOW
from runs import changes_of, quick_popen, quick_run
from tiny import Trainer, tiny_config

from sagan_jax.config import load_config
from sagan_jax.ops import resampling
from sagan_jax.runtime.programs import forget_programs

pytestmark = pytest.mark.slow


def run(program, *arguments, **environment):
    environment = os.environ | {"PYTHONPATH": WITHOUT_TENSORFLOW, "PYTHON": sys.executable} | environment
    process = subprocess.run([program, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """But the PyTorch peer, which needs torch."""
    file = tmp_path_factory.mktemp("gpu") / "found.json"
    assert run("bench/gpu.sh", str(file), "--smallest").count("exit 0") == 3
    return json.loads(file.read_text())["parts"]


def test_gpu_benchmarks_in_their_smallest_form(parts):
    assert set(parts) == {"step", "correct", "operations"}
    step, correct, operations = (parts[name]["found"][0] for name in ("step", "correct", "operations"))
    assert 0 < step["mfu"] < 1.5
    assert step["compile_s_cached"] < step["compile_s_cold"]
    assert step["real_images_per_s"] == pytest.approx(8000 / step["ms_median"])
    assert len(step["top_kernels"]) > 5
    assert set(map(str, correct["float32"].values())) == {"0.0", "{}"}  # a CPU against itself
    assert all(0 < error < 0.1 for error in correct["bfloat16"].values() if isinstance(error, float))
    assert {row["form"] for row in operations["operations"]} == {"joined", "apart", "same size", "attention"}


def test_a_sweep_measures_each_value(tmp_path):
    run(
        *(sys.executable, "bench/sweep.py", "--config=digits", "--seconds=0.2", "--vary=train.batch_size=16"),
        *("--set=model.generator.channels=4", "--set=model.discriminator.channels=4", f"--json={tmp_path / 'rows'}"),
    )
    (row,) = (json.loads(line) for line in (tmp_path / "rows").read_text().splitlines())
    assert row["batch_size"] == row["value"] == 16


def test_work_grows_linearly_with_the_batch(parts):
    narrow = ("model.generator.channels=4", "model.discriminator.channels=4", "train.batch_size=16")
    step = experiment.open_experiment("digits", narrow)
    arguments = (step.abstract_state(), None, step.abstract_inputs(), jax.random.key(0))
    per_image = step.take_steps().lower(*arguments).cost_analysis()["flops"] / 16 / 1e9
    of_half_the_batch = parts["step"]["found"][0]["gflop_per_image"]
    assert 0.8 * of_half_the_batch < per_image < of_half_the_batch  # the optimiser's work is shared


def test_joined_and_plain_convolutions_train_alike(monkeypatch):
    """Losses of the first steps, in which the game has not amplified rounding yet."""
    config, losses = load_config("digits"), {}
    config.model.generator.channels = config.model.discriminator.channels = 4
    config.train.batch_size = 32
    for form, fewest in (("joined", 1), ("plain", 10**9)):
        monkeypatch.setattr(resampling, "FEWEST_POSITIONS", fewest)
        forget_programs()
        trainer = Trainer(config)
        state, rows = trainer.fresh_state(), []
        for _ in range(4):
            state, metrics = trainer.run(state, 1)
            rows.append([float(metrics["d_loss"]), float(metrics["g_loss"])])
        losses[form] = np.asarray(rows)
    joined, plain = losses["joined"], losses["plain"]
    np.testing.assert_allclose(joined[:3], plain[:3], rtol=1e-3, atol=1e-3)
    assert (joined != plain).any()  # these were two programs


def test_what_a_config_learns_is_scored_at_fixed_points(tmp_path, monkeypatch):
    out = tmp_path / "found.json"
    changes = changes_of(tiny_config())
    flags = ("--config=digits", "--steps=4", "--points=2", "--samples=200", "--features=classifier", f"--out={out}")
    monkeypatch.setattr(sys, "argv", ["quality.py", *flags, *(f"--set={change}" for change in changes)])
    programs = types.SimpleNamespace(Popen=quick_popen, run=quick_run, DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr(quality, "subprocess", programs)
    quality.main()
    found = json.loads(out.read_text())
    assert [point["step"] for point in found["points"]] == [2, 4]
    for point in found["points"]:
        (evaluation,) = point["scores"]
        assert evaluation["protocol"]["generated"]["images"] == 200
        assert evaluation["scores"]["fd_classifier"]["value"] > 1  # nothing is learnt in four steps
    assert found["set"] == changes
    assert out.with_suffix(".png").exists()
