"""Reports of a run: a row per step, a line per report."""

import io
import json

import pytest

from sagan_jax.runtime.timing import Progress
from sagan_jax.runtime.workdir import read_metrics
from sagan_jax.runtime.writer import open_writer


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
