"""One run per workdir, on a disk and in a bucket, also where its lock is deleted or overwritten."""

import json
import shutil
import threading
import time

import pytest
from etils import epath
from runs import config_for

from sagan_jax.errors import BAD_INPUT, InputError
from sagan_jax.runtime import lock
from sagan_jax.runtime.workdir_access import open_workdir
from sagan_jax.training.loop import prepare


@pytest.fixture
def bucket_folder(tmp_path, monkeypatch):
    """The same on a disk, where it is quicker."""
    monkeypatch.setattr(lock, "HEARTBEAT", 0.3)
    monkeypatch.setattr(lock, "STALE_AFTER", 2.5)
    monkeypatch.setattr(lock, "SETTLED_AFTER", 0.3)
    monkeypatch.setattr(lock, "is_remote", lambda path: True)
    return epath.Path(tmp_path)


def test_a_lock_in_a_bucket_is_kept_fresh_and_outlives_nobody(bucket_folder):
    file = bucket_folder / lock.LOCK_FILE
    with lock.workdir_lock(bucket_folder), pytest.raises(InputError, match="is in use by another run .process"):
        lock.workdir_lock(bucket_folder).__enter__()
    assert not file.exists()
    file.write_text('{"owner": "a run that was killed"}')
    with lock.workdir_lock(bucket_folder):
        assert "killed" not in file.read_text()
        file.unlink()  # with the whole folder, say
        end = time.monotonic() + 600
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert file.exists()


@pytest.mark.parametrize("before", ["nothing", "a run that was killed"])
def test_of_two_runs_that_begin_at_once_in_a_bucket_one_is_refused(bucket_folder, before):
    if before != "nothing":
        (bucket_folder / lock.LOCK_FILE).write_text('{"owner": "killed"}')
    together, answered, inside, refused = threading.Barrier(2), threading.Event(), [], []

    def run(number):
        together.wait()
        try:
            with lock.workdir_lock(bucket_folder):
                inside.append(number)
                if len(inside) == 2:
                    answered.set()
                answered.wait()
        except InputError:
            refused.append(number)
            answered.set()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(refused)) == (1, 1)


def test_a_run_whose_bucket_is_taken_by_another_ends(bucket_folder, monkeypatch, capsys):
    statuses, file = [], bucket_folder / lock.LOCK_FILE
    monkeypatch.setattr(lock.os, "_exit", statuses.append)
    others = json.dumps({"owner": "process 1 elsewhere", "run": "another", "beat": "1"})
    with lock.workdir_lock(bucket_folder):
        file.write_text(others)
        limit = time.monotonic() + 600
        while not statuses and time.monotonic() < limit:
            time.sleep(0.05)
    assert set(statuses) == {BAD_INPUT}
    assert "error: --workdir=" in (said := capsys.readouterr().err)
    assert "is in use by another run (process 1 elsewhere)" in said
    assert file.read_text() == others


def test_a_deleted_folder_is_locked_again(tmp_path, capsys):
    workdir = tmp_path / "run"
    with open_workdir(str(workdir)) as folder:
        run, state = prepare(config_for(1), folder)
        shutil.rmtree(workdir)
        run.save(1, state, wait=True)
        assert "was deleted: it is made anew" in capsys.readouterr().err
        with pytest.raises(InputError, match="is in use by another run"), lock.workdir_lock(folder):
            raise AssertionError("both have it")
        shutil.rmtree(workdir)
        workdir.mkdir()
        with (workdir / lock.LOCK_FILE).open("w") as taken:  # by another run, before this one saves again
            lock.fcntl.flock(taken, lock.fcntl.LOCK_EX)
            taken.write("process 1 elsewhere")
            taken.flush()
            with pytest.raises(InputError, match="is in use by another run .process 1 elsewhere"):
                run.save(2, state, wait=True)
        assert not (workdir / "config.json").exists()
        run.close()


@pytest.mark.parametrize(
    ("before", "inside", "left"),
    [
        ("", "", set()),
        ("", "runs/new/checkpoints/", set()),
        ("", "runs/new/config.json", {"runs", "runs/new", "runs/new/config.json", "runs/new/.lock"}),
        ("runs/", "", {"runs"}),
        ("runs/new/", "", {"runs", "runs/new", "runs/new/.lock"}),
        ("runs/other", "", {"runs", "runs/other"}),
    ],
)
def test_a_refused_run_leaves_no_folder(tmp_path, before, inside, left):
    def make(name):
        folder, _, file = name.rpartition("/")
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        if file:
            (tmp_path / name).touch()

    make(before)

    def refused_run():
        with open_workdir(tmp_path / "runs" / "new"):
            make(inside)
            raise InputError("is refused")

    with pytest.raises(InputError, match="refused"):
        refused_run()
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == left
