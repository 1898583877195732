"""What a run reports: means over intervals, one row per step, a line that fits; and what it says while it is busy."""

import io
import json
import time

import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.runtime import busy as busy_module
from sagan_jax.runtime.busy import busy
from sagan_jax.runtime.timing import Progress
from sagan_jax.runtime.workdir import read_metrics
from sagan_jax.runtime.writer import open_writer
from sagan_jax.training.interval import IntervalMeans
from sagan_jax.training.steps import pace

VALUES = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)


def metrics_of(step):
    return {"d_loss": jnp.asarray(VALUES[step, 0]), "g_loss": jnp.asarray(VALUES[step, 1])}


@pytest.mark.parametrize("stop", range(7))
def test_means_do_not_depend_on_where_a_run_was_stopped(stop):
    whole = IntervalMeans({})
    for step in range(6):
        whole.add(1, metrics_of(step))
    parts = IntervalMeans({})
    for step in range(6):
        if step == stop:
            parts = IntervalMeans(json.loads(json.dumps(parts.notes())))
        parts.add(1, metrics_of(step))
    assert whole.notes() == parts.notes()
    steps, sums = whole.sums()
    np.testing.assert_allclose([float(sums[k]) / steps for k in ("d_loss", "g_loss")], VALUES.mean(0), rtol=1e-6)


@pytest.mark.parametrize("notes", [{}, {"stop": True}, {"interval": {"steps": 3, "sums": {"d_loss": 5.0}}}])
def test_an_interval_begins_anew_where_a_checkpoint_has_no_sums_of_these_metrics(notes):
    means = IntervalMeans(notes)
    means.add(2, metrics_of(0))
    steps, sums = means.sums()
    assert steps == 2
    assert float(sums["g_loss"]) == 2 * VALUES[0, 1]


def test_there_is_one_row_per_step(tmp_path):
    writer = open_writer(tmp_path, 0)
    writer.write_scalars(2, {"d_loss": 1.0})
    writer.write_scalars(4, {"d_loss": 2.0})
    writer.write_scalars_once(4, {"g_entropy_8": 3.0})
    writer.close()
    resumed = open_writer(tmp_path, 4)
    resumed.write_scalars_once(4, {"g_entropy_8": 9.0})
    resumed.write_scalars_once(4, {"eval/fid": 4.0})
    resumed.write_scalars(6, {"d_loss": 5.0})
    resumed.close()
    expected = [
        {"step": 2, "d_loss": 1.0},
        {"step": 4, "d_loss": 2.0, "g_entropy_8": 3.0, "eval/fid": 4.0},
        {"step": 6, "d_loss": 5.0},
    ]
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == expected
    with (tmp_path / "metrics.jsonl").open("a") as file:  # as earlier versions did
        file.write('{"step": 6, "eval/fid": 6.0}\n')
    assert read_metrics(tmp_path) == [*expected[:2], {"step": 6, "d_loss": 5.0, "eval/fid": 6.0}]


class Terminal(io.StringIO):
    def isatty(self):
        return True


SHOWN = {"d_loss": 1.23456, "g_loss": -0.5, "d_accuracy": 0.75, "real_logits": 1.0, "fake_logits": -1.0}
SPEED = {"steps_per_s": 2.0, "images_per_s": 1234.0, "data_wait": 0.0}


@pytest.mark.parametrize("terminal", [True, False])
def test_a_line_per_report_has_losses_and_speed_first(monkeypatch, capsys, terminal):
    monkeypatch.setattr("sys.stderr", Terminal() if terminal else io.StringIO())
    monkeypatch.setenv("COLUMNS", "80")
    with Progress(0, 10_000) as progress:
        for step in (900, 1000):
            progress.advance(100)
            progress.report(step, SHOWN, SPEED)
    first, second = capsys.readouterr().out.splitlines()
    begin = "step  1,000/10,000  d_loss  1.235  g_loss -0.500    1,234 images/s"
    assert second.startswith(begin)
    assert first == second.replace(" 1,000/", "   900/").replace("1:15:00", "1:15:50")
    assert (len(second) < 80) == terminal
    assert ("1:15:00 left" in second) != terminal  # on a terminal the bar below has it


def test_the_first_step_tells_the_time_of_the_whole_run():
    assert pace(0.5, 1, 1999) == (
        "the first step took 0.5 s: at this pace 0:16:40 for the 1,999 left, pictures and scores aside"
    )
    assert pace(0.5, 5, 0) == "the first 5 steps took 0.5 s"


def test_what_takes_long_is_said_while_it_lasts(monkeypatch, capsys):
    monkeypatch.setattr(busy_module, "SILENT", 0.1)
    monkeypatch.setattr(busy_module, "LINES_AT", (0.1, 0.2, 60))
    with busy("resting"):
        pass
    assert capsys.readouterr().out == ""
    with busy("compiling the step"):
        time.sleep(0.5)
    first, second, last = capsys.readouterr().out.splitlines()
    assert (first, second) == ("compiling the step, 0.1 s so far", "compiling the step, 0.2 s so far")
    assert last.startswith("compiling the step: done in ")
