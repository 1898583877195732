"""Disks that are full and buckets that are out of reach for a while: lines and files wait, and the run goes on."""

import os
import subprocess
import sys

import numpy as np
import pytest
from etils import epath
from places import ROOT
from runs import config_for

from sagan_jax.runtime import checkpoint_reading as reading_module
from sagan_jax.runtime import journal as journal_module
from sagan_jax.runtime import workdir as workdir_module
from sagan_jax.runtime.journal import Journal
from sagan_jax.runtime.workdir import read_metrics
from sagan_jax.runtime.writer import RunWriter, open_writer
from sagan_jax.training import run as run_module
from sagan_jax.training.loop import train_and_evaluate


class OutOfReachError(Exception):
    """A bucket's own kind, which is no OSError."""


def test_lines_wait_until_they_can_be_written(tmp_path, capsys):
    file = tmp_path / "metrics.jsonl"
    file.symlink_to("/dev/full")  # where every write fails for lack of space
    journal = Journal(file)
    for line in "abc":
        journal.append(line)
    assert capsys.readouterr().err.count("cannot be written (No space left on device)") == 1
    file.unlink()
    journal.append("d")
    assert journal.lines() == file.read_text().splitlines() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("remote", [False, True])
def test_lines_that_are_replaced_wait_as_well(tmp_path, monkeypatch, remote):
    monkeypatch.setattr(journal_module, "is_remote", lambda path: remote)
    file = epath.Path(tmp_path / "metrics.jsonl")
    journal = Journal(file)
    for line in "ab":
        journal.append(line)
    journal.flush()
    with monkeypatch.context() as outage:
        outage.setattr(journal_module, "write_atomic", raising(OutOfReachError("503")))
        journal.replace(["a"])
        journal.append("c")
        journal.flush()
        assert journal.lines() == ["a", "c"]
        assert file.read_text() == "a\nb\n"
    journal.append("d")
    journal.flush()
    assert journal.lines() == file.read_text().splitlines() == ["a", "c", "d"]


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


def test_going_back_also_forgets_rows_that_wait_for_the_next_upload(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "is_remote", lambda path: True)
    writer = open_writer(epath.Path(tmp_path), 0)
    for step in (1, 2, 3):
        writer.write_scalars(step, {"loss": 1.0})
        if step == 1:
            writer.flush()
    writer.rewind(2)
    writer.write_scalars(3, {"loss": 2.0})
    writer.close()
    assert [(row["step"], row["loss"]) for row in read_metrics(tmp_path)] == [(1, 1.0), (2, 1.0), (3, 2.0)]


def test_pictures_that_cannot_be_written_do_not_end_a_run(tmp_path, capsys):
    writer = open_writer(tmp_path, 0)
    (tmp_path / "samples").write_text("in the way")
    writer.write_image(1, "samples", np.zeros((4, 4, 3), np.uint8))
    writer.close()
    assert "samples/00000001.png could not be written" in capsys.readouterr().err


def test_a_run_outlives_a_file_system_with_errors_of_its_own(tmp_path, monkeypatch, capsys):
    """Settings, checkpoints, metrics and pictures, all out of reach from step 2 to step 5."""
    out_of_reach, write_scalars = [], RunWriter.write_scalars

    def follow(writer, step, values):
        out_of_reach[:] = [step] if 2 <= step <= 5 else []
        write_scalars(writer, step, values)

    def failing(function):
        return lambda *given, **named: raising(OutOfReachError("503"))() if out_of_reach else function(*given, **named)

    monkeypatch.setattr(RunWriter, "write_scalars", follow)
    monkeypatch.setattr(journal_module, "is_remote", lambda path: True)
    monkeypatch.setattr(journal_module, "UPLOAD_EVERY", 0.0)
    for module, name in (
        (journal_module, "write_atomic"),
        (workdir_module, "write_atomic"),
        (run_module, "settings_are_there"),
        (reading_module.Manager, "save"),
    ):
        monkeypatch.setattr(module, name, failing(getattr(module, name)))
    config = config_for(8)
    config.checkpoint.every_steps = 2
    config.log.pictures_every_steps = 4
    train_and_evaluate(config, str(tmp_path))
    said = capsys.readouterr().err
    assert f"{tmp_path} cannot be used (503): the run goes on" in said
    assert "metrics.jsonl cannot be written (503)" in said
    assert "samples/00000004.png could not be written (503)" in said
    assert "could not save into" in said
    assert [row["step"] for row in read_metrics(tmp_path) if "d_loss" in row] == list(range(1, 9))


def test_buckets_are_reached_in_the_way_that_is_tested():
    pytest.importorskip("gcsfs")
    program = (
        "import sagan_jax.runtime.storage; from etils import epath\n"
        "print(type(epath.Path('gs://bucket/run')._backend).__name__)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "EPATH_USE_TF"}
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "_FileSystemSpecBackend\n"
