"""Real processes that are stopped, killed, hung and lost: nothing is lost with them."""

import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from PIL import Image
from places import ROOT
from runs import (
    LIMIT,
    QUICK_CLASSIFIER,
    QUICK_STEPS,
    STARTED,
    assert_same_numbers,
    assert_same_run,
    config_for,
    ended,
    in_several,
    newest_state,
    start,
    start_program,
    start_several,
    wait_for_step,
    wait_until,
)

from sagan_jax import evaluate
from sagan_jax import prepare as prepare_program
from sagan_jax.errors import HUNG, INTERRUPTED, RUN_AGAIN
from sagan_jax.features import classifier, extractor
from sagan_jax.runtime.checkpoint import Checkpoints
from sagan_jax.runtime.workdir import read_metrics
from sagan_jax.training.loop import train_and_evaluate

pytestmark = pytest.mark.slow


STEPS = 24


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    for process in STARTED:
        process.kill()  # does nothing to those that have ended


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    go_on(workdir, STEPS)
    return workdir


def go_on(workdir, steps):
    """In this process, on as many devices, with what is compiled already."""
    train_and_evaluate(config_for(steps), str(workdir))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(undisturbed, tmp_path, number, capsys):
    process = start(tmp_path, STEPS)
    wait_until((tmp_path / "checkpoints" / "8").exists)
    process.send_signal(number)
    (status,), (output,) = ended(process)
    assert status == (-signal.SIGKILL if number == signal.SIGKILL else RUN_AGAIN), output
    if number != signal.SIGKILL:
        assert f"{number.name}: saving after this step" in output
        assert "run the same again to go on" in output
    go_on(tmp_path, STEPS)
    assert "continuing at step" in capsys.readouterr().out
    assert_same_run(tmp_path, undisturbed, STEPS)


def test_a_second_interrupt_stops_at_once(tmp_path):
    """Here while the run tries for half a minute to save where nothing can be saved."""
    process = start(tmp_path, 10**6, "--config.checkpoint.every_steps=1000000")
    wait_for_step(tmp_path, 1)
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / "checkpoints").write_text("in the way")
    process.send_signal(signal.SIGINT)
    said = itertools.takewhile(lambda line: "could not save" not in line, process.stdout)
    assert any("SIGINT: saving after this step; Ctrl-C again stops at once" in line for line in said)
    process.send_signal(signal.SIGINT)
    (status,), (output,) = ended(process)
    assert status == 130, output
    assert "stopped at once" in output


def test_a_second_interrupt_does_not_wait_for_a_save(tmp_path):
    """That of a slow bucket, say."""
    program = (
        "import contextlib, sys, time, jax.numpy as jnp\n"
        "from sagan_jax.cli import run\n"
        "from sagan_jax.runtime import checkpoint\n"
        "from sagan_jax.runtime.interruption import StopRequest\n"
        "checkpoint.write_manifest = lambda *_: time.sleep(9999)\n"
        "def program():\n"
        "    with contextlib.ExitStack() as opened:\n"
        "        request = opened.enter_context(StopRequest())\n"
        "        opened.enter_context(request.steps())\n"
        "        checkpoints = checkpoint.Checkpoints(sys.argv[1], 3, 100)\n"
        "        opened.callback(checkpoints.close)\n"
        "        checkpoints.save(1, {'weights': jnp.ones((8, 8))})\n"
        "        print('saving', flush=True)\n"
        "        while True:\n"  # a signal just before a sleep is seen after it
        "            time.sleep(0.1)\n"
        "sys.exit(run(program))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "checkpoints")],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    STARTED.append(process)
    assert any(line == "saving\n" for line in process.stdout)
    process.send_signal(signal.SIGINT)
    assert any("SIGINT: saving after this step" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    (status,), (output,) = ended(process)
    assert status == 130
    assert "stopped at once: run the same command again" in output


@pytest.mark.parametrize("joined", [False, True])
def test_a_signal_while_a_run_starts_ends_it_at_once(tmp_path, joined):
    """Also where JAX has caught SIGTERM before, as in a Slurm job of one task."""
    (process,) = in_several(1, lambda process: start(tmp_path, 10**6, process=process if joined else None))
    wait_until((tmp_path / ".lock").exists)
    process.send_signal(signal.SIGTERM)
    (status,), (output,) = ended(process)
    assert status == RUN_AGAIN, output
    assert "SIGTERM: nothing is left to save" in output
    assert "\nstep" not in output


def end_of_output(process):
    """What `| head` does once it has its lines."""
    process.stdout.close()


STOPS = {
    "SIGTERM": lambda process: process.send_signal(signal.SIGTERM),
    "SIGINT": lambda process: process.send_signal(signal.SIGINT),
    "closed pipe": end_of_output,
}


@pytest.mark.parametrize(("way", "seconds"), [("SIGTERM", 0), ("SIGINT", 4), ("closed pipe", 4)])
def test_a_run_that_is_stopped_while_it_compiles_ends_at_once(tmp_path, way, seconds):
    """The compiler's threads go on meanwhile, and must not be torn down under their feet."""
    fresh = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"), "JAX_DISABLE_MOST_OPTIMIZATIONS": "false"}
    wide = ("--config.model.generator.channels=16", "--config.model.discriminator.channels=32")  # compile for long
    process = start(tmp_path / "run", 10**6, *wide, environment=fresh)
    said = list(itertools.takewhile(lambda line: "compiling the step, " not in line, process.stdout))
    time.sleep(seconds)
    assert process.poll() is None, said
    STOPS[way](process)
    status = process.wait(LIMIT)
    output = "" if process.stdout.closed else process.stdout.read()
    assert status == RUN_AGAIN, output
    assert "Segmentation" not in output
    assert "Traceback" not in output
    assert "the first step took" not in output


COMPILING = (  # says so on the first program that takes long
    "import jax\n"
    "def say(event, **_):\n"
    "    if event == '/jax/compilation_cache/compile_requests_use_cache': print('COMPILING', flush=True)\n"
    "jax.monitoring.register_event_listener(say)\n"
)


@pytest.mark.parametrize(("program", "programs_before"), [("sample", 3), ("export", 12), ("evaluate", 12)])
def test_other_programs_that_are_interrupted_while_they_compile_end_at_once(tmp_path, program, programs_before):
    fresh = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"), "JAX_DISABLE_MOST_OPTIMIZATIONS": "false"}
    images = tmp_path / "images.npz"
    np.savez(images, images=np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), np.uint8))
    flags = {
        "sample": ("--model=digits", f"--out={tmp_path / 'out'}"),
        "export": ("--model=digits", f"--out={tmp_path / 'out'}"),
        "evaluate": (f"--fake={images}", "--real=digits", "--features=classifier", f"--cache-dir={tmp_path}"),
    }[program]
    process = start_program(program, *flags, environment=fresh, first=COMPILING)
    compiling = (line for line in process.stdout if line == "COMPILING\n")
    assert len(list(itertools.islice(compiling, programs_before))) == programs_before
    process.send_signal(signal.SIGINT)
    (status,), (output,) = ended(process)
    assert status == INTERRUPTED, output
    assert output.rstrip().endswith("stopped at once: run the same command again to go on")
    assert "Traceback" not in output


def test_a_second_run_in_the_same_workdir_is_refused(tmp_path):
    first = start(tmp_path, 10**6)
    wait_for_step(tmp_path, 1)
    (status,), (output,) = ended(start(tmp_path, 10**6))
    assert status == 2
    assert f"is in use by another run (process {first.pid} on" in output
    first.kill()
    ended(first)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """A run of five steps."""
    workdir = tmp_path_factory.mktemp("two")
    statuses, outputs = ended(*start_several(workdir, 5, 2))
    assert statuses == [0] * 2, outputs
    assert "8 x cpu, 2 processes" in outputs[0]
    assert "step" not in outputs[1]
    return workdir


@pytest.fixture(scope="module")
def spread_over_two(two_processes, tmp_path_factory):
    """The same, gone on with by two whose devices share the state."""
    workdir = tmp_path_factory.mktemp("spread") / "run"
    shutil.copytree(two_processes, workdir)
    # By itself only larger arrays are.
    spread = "from sagan_jax.runtime import sharding; sharding.SMALLEST_SHARDED = 1"
    statuses, outputs = ended(*start_several(workdir, 8, 2, "--config.mesh.fsdp=4", first=spread))
    assert statuses == [0] * 2, outputs
    assert "continuing at step 5 of 8" in outputs[0]
    return workdir


def test_two_processes_train_like_one(undisturbed, two_processes):
    rows, others = read_metrics(two_processes), read_metrics(undisturbed)
    for name in ("d_loss", "g_loss", "real_logits", "fake_logits", "d_gradient_norm", "g_gradient_norm"):
        np.testing.assert_allclose(rows[0][name], others[0][name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_what_two_processes_save_spread_one_goes_on_with(spread_over_two, tmp_path, capsys):
    shutil.copytree(spread_over_two, tmp_path, dirs_exist_ok=True)
    go_on(tmp_path, 10)
    assert "continuing at step 8 of 10" in capsys.readouterr().out
    assert list(dict.fromkeys(row["step"] for row in read_metrics(tmp_path))) == list(range(1, 11))


def test_two_processes_score_like_one(two_processes, tmp_path, monkeypatch):
    flags = (f"--workdir={two_processes}", "--features=classifier", "--samples=200")
    places = [(f"--cache-dir={tmp_path / count}", f"--out={tmp_path / count}.json") for count in ("one", "two")]
    with monkeypatch.context() as quick:
        quick.setattr(classifier, "STEPS", QUICK_STEPS)
        quick.setattr(extractor, "train_classifier", classifier.train_classifier)
        assert evaluate.main([*flags, *places[0]]) == 0
    score = functools.partial(start_program, "evaluate", *flags, *places[1], first=QUICK_CLASSIFIER)
    statuses, outputs = ended(*in_several(2, score))
    assert statuses == [0, 0], outputs
    assert "FD-classifier" in outputs[0]
    assert "FD-classifier" not in outputs[1]  # the second is silent
    one, two = (json.loads((tmp_path / f"{count}.json").read_text())["scores"] for count in ("one", "two"))
    for name, score in one.items():
        assert two[name]["value"] == pytest.approx(score["value"], rel=1e-3, abs=1e-3), name


def test_a_signal_to_one_process_stops_all_after_the_same_step(two_processes, tmp_path):
    """In a run that was continued, which draws and saves after each step, so it comes in the middle of that."""
    shutil.copytree(two_processes, tmp_path, dirs_exist_ok=True)
    often = ("--config.log.pictures_every_steps=1", "--config.checkpoint.every_steps=1")
    processes = start_several(tmp_path, 10**6, 2, *often)
    wait_for_step(tmp_path, 8)
    processes[1].send_signal(signal.SIGTERM)
    statuses, outputs = ended(*processes)
    assert statuses == [RUN_AGAIN] * 2, outputs
    step = max(row["step"] for row in read_metrics(tmp_path))
    assert f"stopped and saved after step {step}" in outputs[0].replace(",", "")
    checkpoints = Checkpoints(tmp_path / "checkpoints", 1, 100)
    assert checkpoints.newest_step() == step
    checkpoints.close()


def test_a_run_killed_while_it_saves_has_the_checkpoint_before(undisturbed, tmp_path, capsys):
    """Again and again, as soon as a checkpoint begins to be written."""
    begun = []
    for _ in range(2):
        process = start(tmp_path, STEPS, "--config.checkpoint.every_steps=1")
        known = {path.name for path in checkpoints_of(tmp_path)}
        wait_until(lambda known=known: {p.name for p in checkpoints_of(tmp_path) if "tmp" in p.name} - known)
        process.kill()
        ended(process)
        begun.append(any("tmp" in path.name for path in checkpoints_of(tmp_path)))
    assert any(begun)  # it was really in the middle
    go_on(tmp_path, STEPS)
    assert "damaged" not in capsys.readouterr().err
    assert_same_run(tmp_path, undisturbed, STEPS)


def checkpoints_of(workdir):
    folder = workdir / "checkpoints"
    return list(folder.iterdir()) if folder.exists() else []


def test_a_run_whose_folder_is_deleted_makes_it_anew(undisturbed, tmp_path, capsys):
    process = start(tmp_path / "run", STEPS)
    wait_for_step(tmp_path / "run", 10)
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    (status,), (output,) = ended(process)
    assert status == 0, output
    assert f"warning: {tmp_path / 'run'} was deleted: it is made anew and the run goes on" in output
    states = [newest_state(workdir, config_for(STEPS)) for workdir in (tmp_path / "run", undisturbed)]
    jax.tree.map(np.testing.assert_array_equal, *states)
    go_on(tmp_path / "run", STEPS)  # still the same run
    assert f"continuing at step {STEPS}" in capsys.readouterr().out


def test_a_run_outlives_a_full_disk(undisturbed, tmp_path):
    """A real disk of a few megabytes, which another program fills up for a while."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ("unshare", "--mount", "--map-root-user", "bash", "-c")
    script = f"""
        mount -t tmpfs -o size=12m none {disk} || exit 99
        "$@" & run=$!
        until [[ -e {disk}/run/checkpoints/8 ]]; do sleep 0.05; done
        head -c 12m /dev/zero > {disk}/other 2>/dev/null
        until grep -q "could not save.*No space left on device" {tmp_path}/log || ! kill -0 $run; do sleep 0.05; done
        rm {disk}/other
        wait $run; status=$?
        cp -r {disk}/run {tmp_path}/run
        exit $status"""
    with (tmp_path / "log").open("w") as log:
        process = start(disk / "run", STEPS, before=(*mounted, script, "run"), output=log)
        status = process.wait(LIMIT)
    output = (tmp_path / "log").read_text()
    if status == 99 or "unshare" in output:
        pytest.skip("this machine lets nobody mount a small disk")
    assert status == 0, output
    assert "(No space left on device): the run goes on and tries again; what was saved before is kept" in output
    assert "Traceback" not in output
    assert_same_numbers(tmp_path / "run", undisturbed, STEPS)


def test_a_run_in_a_bucket_goes_on(bucket, undisturbed, tmp_path):
    seldom = "--config.checkpoint.every_steps=6"  # that of step 12 waits until that of step 6 is saved
    first = start("gs://bucket/run", STEPS, seldom, environment=bucket)
    for line in first.stdout:
        if line.startswith("step 14/"):
            break
    first.kill()
    ended(first)
    (status,), (output,) = ended(start("gs://bucket/run", STEPS, seldom, environment=bucket))
    assert status == 0, output
    assert "continuing at step" in output
    copy = (
        "import sys; from etils import epath\n"
        "def copy(there, here):\n"
        "    here.mkdir(exist_ok=True)\n"
        "    for path in there.iterdir():\n"
        "        place = here / path.name\n"
        "        copy(path, place) if path.is_dir() else place.write_bytes(path.read_bytes())\n"
        "copy(epath.Path('gs://bucket/run'), epath.Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", copy, str(tmp_path)]
    subprocess.run(command, env=os.environ | bucket, check=True, timeout=LIMIT)
    assert_same_run(tmp_path, undisturbed, STEPS)


def test_the_others_end_when_a_process_is_lost(tmp_path):
    """It neither answers nor ends, as where its machine is gone."""
    processes = start_several(tmp_path, 10**6, 2)
    wait_for_step(tmp_path, 3)
    processes[1].send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    (status,), (output,) = ended(processes[0])
    assert status not in (0, 2, RUN_AGAIN), output
    assert time.monotonic() - begin < 600  # a minute, on a machine that does nothing else
    processes[1].kill()
    ended(processes[1])


def test_all_end_when_one_process_of_two_hangs(tmp_path):
    """In Python, where its heartbeat goes on. Its patience ends when it hangs: a busy machine compiles slowly."""
    hanging = (
        "import gc, time\n"
        "from sagan_jax.runtime.timing import Progress\n"
        "from sagan_jax.runtime.watchdog import Watchdog\n"
        "def stuck(progress, steps):\n"
        "    progress.left = progress.__dict__.get('left', 4) - 1\n"
        "    if progress.left < 0:\n"
        "        for watchdog in (one for one in gc.get_objects() if isinstance(one, Watchdog)):\n"
        "            watchdog._limit = 2.0\n"
        "        time.sleep(9999)\n"
        "Progress.advance = stuck\n"
    )
    processes = in_several(
        2,
        lambda process: start(
            tmp_path,
            10**6,
            "--config.faults.hang_seconds=600",
            process=process,
            first=hanging if process[2] else "",
        ),
    )
    wait_for_step(tmp_path, 3)
    (status,), (output,) = ended(processes[1])
    assert status == HUNG, output
    assert "in stuck" in output
    begin = time.monotonic()
    (status,), (output,) = ended(processes[0])
    assert status not in (0, 2, RUN_AGAIN), output
    assert time.monotonic() - begin < 600  # a minute, on a machine that does nothing else


def test_all_end_when_one_process_of_two_reads_a_damaged_record(tmp_path):
    """On a disk of its own."""
    folders = [tmp_path / "data", tmp_path / "copy"]
    (tmp_path / "images").mkdir()
    for i in range(64):
        image = np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"{i}.png")
    arguments = [f"--source={tmp_path / 'images'}", f"--out={folders[0]}", "--resolution=16", "--workers=1"]
    assert prepare_program.main(arguments) == 0
    shutil.copytree(*folders)
    (shard,) = folders[1].glob("*.array_record")
    data = bytearray(shard.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    shard.write_bytes(data)
    flags = ("--config.model.num_classes=0", "--config.data.residency=host")
    processes = in_several(
        2,
        lambda process: start(
            tmp_path / "run", 10**6, *flags, f"--config.data.source=prepared:{folders[process[2]]}", process=process
        ),
    )
    (status,), (output,) = ended(processes[1])
    assert status == 2, output
    assert f"{shard.name} is damaged" in output
    begin = time.monotonic()
    (status,), (output,) = ended(processes[0])
    assert status not in (0, 2, RUN_AGAIN), output
    assert time.monotonic() - begin < 600  # a minute, on a machine that does nothing else
