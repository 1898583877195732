"""Starts programs of the package as real processes that begin with the heavy imports done.

`python warm_start.py FD THRESHOLD...`, with the thresholds of gc, is the process that imports; it forks each program
off before JAX has a device or a thread.
"""

import ctypes
import functools
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

IMPORTS = (
    *("sagan_jax.training.loop", "sagan_jax.data.digits", "sagan_jax.evaluation.comparison", "sagan_jax.loading"),
    *("sagan_jax.portable.program", "sagan_jax.layouts.imported", "sagan_jax.preparation.build", "sklearn.datasets"),
)
SET_CHILD_SUBREAPER = 36  # of prctl(2): programs become children of the tests' process once what forked them has ended


class WarmProgram:
    """A process, with the part of the interface of subprocess.Popen that the tests use."""

    def __init__(self, pid, stdout):
        self.pid, self.stdout, self.returncode = pid, stdout, None

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # not ours yet: the process between has not ended
                return None
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=None):
        if self.poll() is None:
            ended = os.pidfd_open(self.pid)
            select.select([ended], [], [], timeout)
            os.close(ended)
            if self.poll() is None:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self.returncode

    def communicate(self, timeout):
        late = threading.Timer(timeout, self.kill)
        late.start()
        begin = time.monotonic()
        output = self.stdout.read() if self.stdout else None
        late.cancel()
        self.wait(max(1, timeout - (time.monotonic() - begin)))
        return output, None

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def start_warm(module, flags, environment, folder, output, first):
    """Starts `python -m MODULE FLAGS`; `output`, a file or subprocess.PIPE, takes what it writes.

    Args:
      first: Python code that it runs before.
    """
    reading, writing = (None, output.fileno()) if output != subprocess.PIPE else os.pipe()
    request = {"module": module, "flags": [str(flag) for flag in flags], "environment": dict(environment)}
    request |= {"folder": str(folder), "first": first}
    channel, _ = _starter()
    socket.send_fds(channel, [json.dumps(request).encode()], [writing])
    pid = int(channel.recv(64))
    if reading is not None:
        os.close(writing)
    return WarmProgram(pid, os.fdopen(reading) if reading is not None else None)


@functools.cache
def _starter():
    """The channel to the process that forks, and it; started once for all tests of this process."""
    ctypes.CDLL(None, use_errno=True).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, __file__, str(theirs.fileno()), *map(str, gc.get_threshold())]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()])
    theirs.close()
    return ours, process


def fork_programs(channel):
    """Forks a process for each request; returns the request in it, and ends where the tests have ended."""
    while True:
        message, descriptors, *_ = socket.recv_fds(channel, 2**20, 1)
        if not message:
            os._exit(0)
        if between := os.fork():
            os.waitpid(between, 0)
            os.close(descriptors[0])
        elif program := os.fork():
            channel.send(str(program).encode())
            os._exit(0)
        else:
            channel.close()
            return json.loads(message), descriptors[0]


def become(request, descriptor):
    """Makes this process the program that was asked for."""
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for name, value in os.environ.items():  # which JAX has read when it was imported
        if name.startswith("JAX_") and name.lower() in jax.config.values:
            kind = type(jax.config.values[name.lower()])
            parse = {bool: lambda text: text.lower() in ("1", "true"), int: int, float: float}.get(kind, str)
            jax.config.update(name.lower(), parse(value))
    sys.argv[1:] = request["flags"]
    exec(request["first"], {})
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    import importlib
    import runpy
    import warnings

    import jax

    for name in IMPORTS:
        importlib.import_module(name)
    gc.freeze()
    gc.set_threshold(*map(int, sys.argv[2:]))
    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # JAX has no threads here
    become(*fork_programs(socket.socket(fileno=int(sys.argv[1]))))
