"""Runs of the training program as processes of their own, for the tests that disturb them."""

import os
import socket
import subprocess
import sys
import time

import jax
import numpy as np
from places import ROOT
from tiny import tiny_config
from warm_start import start_warm

from sagan_jax.config import flat_fields, load_config
from sagan_jax.runtime.checkpoint import Checkpoints
from sagan_jax.runtime.sharding import make_mesh, replicated
from sagan_jax.runtime.workdir import CHECKPOINTS, read_metrics
from sagan_jax.training.continuation import initial_state
from sagan_jax.training.step_config import build_step_config

LIMIT = 1200  # seconds, for what takes a few
STARTED = []  # all processes
# For scores that mean nothing the classifier is trained for fewer steps.
QUICK_STEPS = 20
QUICK_CLASSIFIER = f"from sagan_jax.features import classifier; classifier.STEPS = {QUICK_STEPS}\n"


def config_for(steps):
    config = tiny_config()
    config.train.steps = steps
    config.checkpoint.every_steps = 8
    config.log.update(every_steps=1, pictures_every_steps=16)
    return config


def start(workdir, steps, *more, process=None, **options):
    """The training program itself; `process` and options as for `start_program`."""
    return start_program("main", *run_flags(workdir, steps), *more, process=process, **options)


def run_flags(workdir, steps):
    changes = (f"--config.{change}" for change in changes_of(config_for(steps)))
    return ["--config=configs/digits.py", f"--workdir={workdir}", *changes]


def changes_of(config):
    """What differs from the digits' config, as FIELD=VALUE."""
    usual = flat_fields(load_config("digits"))
    return [f"{field}={value}" for field, value in flat_fields(config).items() if value != usual[field]]


def start_program(
    name,
    *flags,
    devices=8,
    process=None,
    before=(),
    environment=None,
    output=subprocess.PIPE,
    first="",
    tensorflow=False,
):
    """A program of the package.

    Args:
      name: of its module.
      flags: its own.
      devices: virtual ones of all processes.
      process: (port, number of processes, which one).
      before: a command that the program is an argument of.
      environment: more variables.
      output: where what it says goes.
      first: Python code that it runs before.
      tensorflow: whether it finds TensorFlow, which takes seconds to import, for TensorBoard files and TFRecord data.
    """
    if process:
        port, count, index = process
        devices //= count
        flags += (f"--coordinator=localhost:{port}", f"--processes={count}", f"--process={index}")
    fixed = {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    environment = os.environ | fixed | (environment or {})
    if before:
        command = [*before, sys.executable, "-m", f"sagan_jax.{name}", *flags]
        pipes = {"stdout": output, "stderr": subprocess.STDOUT, "text": True}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
    else:
        first = first if tensorflow else f"import sys; sys.modules['tensorflow'] = None\n{first}"
        process = start_warm(f"sagan_jax.{name}", flags, environment, ROOT, output, first)
    STARTED.append(process)
    return process


def quick_popen(command, **_):
    """Starts `python -m sagan_jax.NAME FLAGS` in place of `subprocess.Popen`, quickly."""
    return start_program(
        command[2].removeprefix("sagan_jax."), *command[3:], output=sys.__stdout__, first=QUICK_CLASSIFIER
    )


def quick_run(command, **options):
    """Runs the same in place of `subprocess.run`; any other command as it is."""
    if command[0] != sys.executable:
        return subprocess.run(command, **options)
    process = quick_popen(command)
    assert process.wait(LIMIT) == 0
    return process


def start_several(workdir, steps, count, *more, **options):
    return in_several(count, lambda process: start(workdir, steps, *more, process=process, **options))


def in_several(count, begin):
    """What `begin(process=...)` starts in so many processes that work together."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [begin(process=(port, count, index)) for index in range(count)]


def wait_until(happened):
    end = time.monotonic() + LIMIT
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


def wait_for_step(workdir, step):
    """Until the metrics of a step are on the disk."""
    wait_until(lambda: any(row["step"] >= step for row in read_metrics(workdir)))


def ended(*processes):
    """Exit statuses and outputs."""
    outputs = [process.communicate(timeout=LIMIT)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def newest_state(workdir, config):
    checkpoints = Checkpoints(workdir / CHECKPOINTS, 1, 100)
    state = initial_state(config, build_step_config(config), make_mesh(jax.devices()[:1]), checkpoints)
    checkpoints.close()
    return jax.device_get(state)


def assert_same_run(found, expected, steps):
    """Bit for bit the same weights, metrics and pictures."""
    assert_same_numbers(found, expected, steps)
    for kind in ("samples", "attention"):
        names = [sorted(file.name for file in (workdir / kind).iterdir()) for workdir in (found, expected)]
        assert names[0] == names[1]
        for name in names[0]:
            assert (found / kind / name).read_bytes() == (expected / kind / name).read_bytes()


def assert_same_numbers(found, expected, steps):
    jax.tree.map(
        np.testing.assert_array_equal, *(newest_state(workdir, config_for(steps)) for workdir in (found, expected))
    )
    timings = {"steps_per_s", "images_per_s", "data_wait"}
    values = [
        {row["step"]: {k: v for k, v in row.items() if k not in timings} for row in read_metrics(workdir)}
        for workdir in (found, expected)
    ]
    differing = {step: (values[0].get(step), row) for step, row in values[1].items() if values[0].get(step) != row}
    assert not differing
    assert values[0] == values[1]


def state_of(number):
    numbers = np.random.default_rng(number).normal(size=(64, 64)).astype(np.float32)
    return {"weights": jax.device_put(numbers, replicated(make_mesh()))}


def save_three(folder):
    checkpoints = Checkpoints(folder, keep=3, keep_every_steps=100)
    for step in (1, 2, 3):
        checkpoints.save(step, state_of(step))
    checkpoints.close()
