"""What goes wrong around a run: damaged checkpoints and records, clocks, processes that hang, signals."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
from PIL import Image
from places import ROOT
from runs import config_for, newest_state, save_three, state_of

from sagan_jax import prepare as prepare_program
from sagan_jax.errors import HUNG, FailedError, InputError, StoppedError
from sagan_jax.runtime.checkpoint import BestCheckpoint, Checkpoints, SavedCheckpoints
from sagan_jax.runtime.processes import join_processes
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.timing import Progress
from sagan_jax.runtime.watchdog import Watchdog
from sagan_jax.training import loop
from sagan_jax.training.loop import prepare, train_and_evaluate
from sagan_jax.training.reports import Reports
from sagan_jax.training.trained import open_trained


def largest_file(checkpoint):
    return max((file for file in (checkpoint / "default").rglob("*") if file.is_file()), key=lambda f: f.stat().st_size)


def truncate(checkpoint):
    os.truncate(largest_file(checkpoint), 100)


def flip_a_byte(checkpoint):
    file = largest_file(checkpoint)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def delete_half(checkpoint):
    files = sorted(file for file in (checkpoint / "default").rglob("*") if file.is_file())
    for file in files[::2]:
        file.unlink()


def delete_all_but_the_folder(checkpoint):
    for file in checkpoint.rglob("*"):
        if file.is_file():
            file.unlink()


def scribble_on_the_manifest(checkpoint):
    (checkpoint / "manifest.json").write_text('{"files"')


DAMAGES = {
    truncate: r"has 100 bytes in place of",
    flip_a_byte: r"has changed",
    delete_half: r"is missing",
    delete_all_but_the_folder: r"manifest.json is missing",
    scribble_on_the_manifest: r"manifest.json is not readable",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(tmp_path, capsys, damage):
    folder = tmp_path / "checkpoints"
    save_three(folder)
    damage(folder / "3")
    checkpoints = Checkpoints(folder, keep=3, keep_every_steps=100)
    assert checkpoints.newest_step() == 2
    found = checkpoints.restore(2, like=state_of(0))
    np.testing.assert_array_equal(found["weights"], state_of(2)["weights"])
    (aside,) = (tmp_path / "quarantine").iterdir()
    words = capsys.readouterr().err
    assert "warning: the checkpoint of step 3 is damaged (" in words
    assert str(aside) in words
    assert DAMAGES[damage] in words
    checkpoints.save(3, state_of(4))
    checkpoints.close()
    assert Checkpoints(folder, 3, 100).newest_step() == 3


@pytest.mark.parametrize(
    ("saved", "kept"),
    [
        ("10 20 30", [20, 30]),
        ("10 20 30 31s 32s 33s", [20, 30, 33]),  # stops push none out but one another
        ("10 20 30 31s 40", [30, 40]),
        ("100 110s 120 130 140s", [100, 120, 130, 140]),
        ("7s", [7]),
    ],
)
def test_stops_replace_one_another_and_no_regular_checkpoint(tmp_path, saved, kept):
    """Each time in a new process, as after a stop."""
    for name in saved.split():
        checkpoints = Checkpoints(tmp_path, keep=2, keep_every_steps=100)
        checkpoints.save(int(name.strip("s")), state_of(1), {"seen": name}, stop=name.endswith("s"))
        checkpoints.close()
    checkpoints = Checkpoints(tmp_path, keep=2, keep_every_steps=100)
    assert checkpoints.steps() == kept
    assert checkpoints.notes(kept[-1])["seen"] == saved.split()[-1]
    regular = [step for step in kept if f"{step}s" not in saved]
    assert checkpoints.newest_regular_step() == (max(regular) if regular else None)
    checkpoints.drop_stop()
    checkpoints.close()
    assert Checkpoints(tmp_path, 2, 100).steps() == regular


def test_damaged_notes_of_an_older_checkpoint_do_not_end_a_run(tmp_path):
    save_three(tmp_path)
    (tmp_path / "2" / "metrics" / "metrics").write_text("{")
    checkpoints = Checkpoints(tmp_path, 3, 100)
    assert checkpoints.steps() == [1, 2, 3]
    assert checkpoints.notes(2) == {}
    checkpoints.close()


def test_where_all_checkpoints_are_damaged_nothing_is_touched(tmp_path):
    save_three(tmp_path)
    for step in "123":
        truncate(tmp_path / step)
    with pytest.raises(InputError, match=r"all checkpoints in .* are damaged .*3: .* has 100 bytes .* restore one"):
        Checkpoints(tmp_path, 3, 100)
    assert {"1", "2", "3"} <= {path.name for path in tmp_path.iterdir()}


def test_a_damaged_best_checkpoint_does_not_stop_the_run(tmp_path, capsys):
    for _ in range(2):
        best = BestCheckpoint(tmp_path / "best", "frechet", lower_is_better=True)
        assert best.score() is None
        assert best.save_if_better(5, state_of(5), 3.0)
        assert not best.save_if_better(6, state_of(6), 4.0)
        best.close()
        flip_a_byte(tmp_path / "best" / "5")
    assert "the checkpoint of step 5 is damaged" in capsys.readouterr().err


def test_a_best_checkpoint_from_before_a_run_went_back_gives_way(tmp_path):
    """Orbax takes none that is not later than all others, and says so only by what it returns."""
    best = BestCheckpoint(tmp_path / "best", "frechet", lower_is_better=True)
    assert best.save_if_better(6, state_of(6), 3.0)
    assert not best.save_if_better(6, state_of(6), 3.0)  # a finished run that is scored again
    assert best.save_if_better(6, state_of(7), 3.5)
    assert best.save_if_better(5, state_of(5), 4.0)
    assert (best.steps(), best.score()) == ([5], 4.0)
    assert best.verify(5) is None
    best.close()


def test_a_save_that_orbax_skips_has_failed(tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path, keep=3, keep_every_steps=100)
    for step in (3, 2):
        checkpoints.save(step, state_of(step))
    assert checkpoints.failed
    assert "could not save into" in capsys.readouterr().err
    checkpoints.close()


def test_a_seal_is_given_to_what_is_written_and_to_nothing_else(tmp_path):
    save_three(tmp_path)
    (tmp_path / "2" / "manifest.json").unlink()
    flip_a_byte(tmp_path / "2")
    checkpoints = Checkpoints(tmp_path, keep=3, keep_every_steps=100)
    checkpoints.save(4, state_of(4))
    checkpoints.close()
    assert [checkpoints.verify(step) for step in (2, 3, 4)] == ["manifest.json is missing", None, None]


def test_a_best_state_that_cannot_be_kept_does_not_stop_the_run(tmp_path, capsys):
    best = BestCheckpoint(tmp_path / "best", "frechet", lower_is_better=True)
    (tmp_path / "best").rmdir()
    (tmp_path / "best").write_text("in the way")
    assert not best.save_if_better(5, state_of(5), 3.0)
    assert f"could not save into {tmp_path / 'best'}" in capsys.readouterr().err
    (tmp_path / "best").unlink()
    assert best.save_if_better(6, state_of(6), 4.0)
    assert best.score() == 4.0
    best.close()


def test_samples_are_not_made_of_a_damaged_checkpoint(tmp_path):
    config = config_for(1)
    run, state = prepare(config, tmp_path)
    run.save(0, state, wait=True)
    run.close()
    assert open_trained(str(tmp_path), "newest", make_mesh()).card.step == 0
    flip_a_byte(tmp_path / "checkpoints" / "0")
    with pytest.raises(InputError, match=r"checkpoint 0 of .* is damaged \(.* has changed\): choose another"):
        open_trained(str(tmp_path), "newest", make_mesh())


class JumpingClock:
    """Jumps once, in the middle of a save, whose time then seems to be up, or not even to have begun."""

    usual = staticmethod(time.time)

    def __init__(self, jump):
        self.jump, self.calls = jump, itertools.count()

    def __call__(self):
        return self.usual() + self.jump * (next(self.calls) > 40)


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    train_and_evaluate(config_for(4), str(tmp_path / "usual"))
    for steps, jump in ((2, 1e6), (4, -1e6)):
        monkeypatch.setattr(time, "time", JumpingClock(jump))
        train_and_evaluate(config_for(steps), str(tmp_path / "jumping"))
    states = [newest_state(tmp_path / name, config_for(4)) for name in ("usual", "jumping")]
    assert int(states[0].step) == 4
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_a_corrupt_record_ends_the_run_with_its_name_and_keeps_the_checkpoints(tmp_path, capsys):
    for i in range(64):
        image = np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "images" / f"{i}.png")
    arguments = [f"--source={tmp_path / 'images'}", f"--out={tmp_path / 'data'}", "--resolution=16", "--workers=1"]
    assert prepare_program.main(arguments) == 0
    config = config_for(2)
    config.model.num_classes = 0
    config.data.update(source=f"prepared:{tmp_path / 'data'}", residency="host")
    train_and_evaluate(config, str(tmp_path / "run"))
    (shard,) = (tmp_path / "data").glob("*.array_record")
    data = bytearray(shard.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    shard.write_bytes(data)
    config.train.steps = 20
    with pytest.raises(InputError, match=f"{shard.name} is damaged"):
        train_and_evaluate(config, str(tmp_path / "run"))
    assert Checkpoints(tmp_path / "run" / "checkpoints", 3, 100).newest_step() >= 2


def test_the_watchdog_ends_a_process_that_hangs_and_says_where():
    program = (
        "import time; from sagan_jax.runtime.watchdog import Watchdog\n"
        "def stuck(): time.sleep(9999)\n"
        "with Watchdog(3.0) as watchdog:\n"
        "    time.sleep(4)  # before the first sign it is patient\n"
        "    with watchdog.steps():\n"
        "        for _ in range(20): watchdog.heartbeat(); time.sleep(0.2)\n"
        "    time.sleep(4); watchdog.heartbeat()\n"
        "    print('still here', flush=True); stuck()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == HUNG
    assert result.stdout == "still here\n"
    assert "nothing was finished for more than 3 seconds (faults.hang_seconds = 3 between two steps" in result.stderr
    assert "in stuck" in result.stderr


def test_a_run_that_hangs_ends_soon(tmp_path, monkeypatch):
    """Its patience ends with the step that hangs: how long a busy machine compiles does not matter."""
    ended, statuses, calls, watchdogs = threading.Event(), [], itertools.count(1), []

    def end(status):
        statuses.append(status)
        ended.set()

    def stuck(progress, steps):
        if next(calls) == 3:
            watchdogs[0]._limit = 2.0
            assert ended.wait(600)
            raise TimeoutError

    def watchdog(seconds):
        watchdogs.append(Watchdog(seconds, end=end))
        return watchdogs[0]

    monkeypatch.setattr(Progress, "advance", stuck)
    monkeypatch.setattr(loop, "Watchdog", watchdog)
    config = config_for(4)
    config.faults.hang_seconds = 600.0
    with pytest.raises(TimeoutError):
        train_and_evaluate(config, str(tmp_path))
    assert statuses == [HUNG]


def signal_in(monkeypatch, owner, name):
    """A SIGTERM to this process as soon as something is called, once."""
    called, function = [], getattr(owner, name)

    def signalled(*given, **named):
        if not called:
            called.append(name)
            os.kill(os.getpid(), signal.SIGTERM)
        return function(*given, **named)

    monkeypatch.setattr(owner, name, signalled)


def test_a_signal_while_no_steps_are_taken_loses_nothing(tmp_path, monkeypatch):
    """At the start, in the step, and at the end, where the pictures are made again by the next start."""
    config = config_for(2)
    for owner, name, said, saved in (
        (loop, "announce_networks", "while no steps were taken", None),
        (Reports, "note", "stopped and saved after step 1 of 2", 1),
        (loop, "finish", "while no steps were taken", 2),
    ):
        with monkeypatch.context() as patched:
            signal_in(patched, owner, name)
            with pytest.raises(StoppedError, match=said):
                train_and_evaluate(config, str(tmp_path))
        steps = SavedCheckpoints(tmp_path / "checkpoints").steps()
        assert (max(steps) if steps else None) == saved
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert not (tmp_path / "samples" / "00000002.png").exists()
    train_and_evaluate(config, str(tmp_path))
    assert (tmp_path / "samples" / "00000002.png").exists()


@pytest.mark.parametrize(
    ("flags", "raised", "expected"),
    [
        (("head:1", 2, None), None, InputError),  # one is missing
        (("head:1", 2, 5), ValueError("process_id is out of range"), InputError),
        (("head:1", 2, 1), RuntimeError("DEADLINE_EXCEEDED"), FailedError),  # the head may have vanished: try again
        ((None, None, None), RuntimeError("must be called before any JAX calls"), None),  # as a library
        ((None, None, None), ValueError("coordinator_address should be defined."), None),  # there are no others
    ],
)
def test_processes_that_cannot_be_joined(monkeypatch, flags, raised, expected):
    def initialize(*given, **options):
        raise raised

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    if expected is None:
        join_processes(*flags)
    else:
        with pytest.raises(expected, match=f"--coordinator=head:1 --processes=2 --process={flags[2]}"):
            join_processes(*flags)
