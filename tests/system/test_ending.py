"""How a program ends where its output goes nowhere, and what it leaves out of what native code says."""

import os
import signal
import subprocess
import sys

import pytest
from places import ROOT

from sagan_jax.errors import FAILED, INTERRUPTED
from sagan_jax.runtime.native_messages import without_alarms

SAYS = "import sys; from sagan_jax import cli\ndef program():\n    {}\n    return 0\ncli.start(program)"
MUCH = "for i in range(9999): print('number', i)"
FULL = "/dev/full"  # where every write fails for lack of space
HEAD = ("bash", "-c", '"$@" | head -1; exit ${PIPESTATUS[0]}', "bash")
PROGRAMS = {  # what a program does, how it is started, its status, and what is seen of it
    "closed pipe": (MUCH, HEAD, INTERRUPTED, ["number 0", "stopped at once"]),
    "closed pipe and nohup": (
        MUCH + "; print('on', file=sys.stderr)",
        ("nohup", *HEAD[:2], 'nohup "$@" | head -1; exit ${PIPESTATUS[0]}', "bash"),
        0,
        ["number 0", "on"],
    ),
    "full disk": (MUCH, ("bash", "-c", f'"$@" > {FULL}', "bash"), 0, []),
    "closed output": (MUCH + "; sys.stdout.flush()", ("bash", "-c", '"$@" >&-', "bash"), 0, []),
    "closed output and error": ("print(1, file=sys.stderr)", ("bash", "-c", '"$@" >&- 2>&-', "bash"), 0, []),
    "poor encoding": ("print('Bär')", ("env", "PYTHONIOENCODING=ascii"), 0, ["B\\xe4r"]),
    "hangup": (
        "import os, signal, time; os.kill(os.getpid(), signal.SIGHUP); time.sleep(9999)",
        (),
        INTERRUPTED,
        ["stopped at once"],
    ),
    "a fault of ours": ("raise KeyError('x')", (), FAILED, ["Traceback", "KeyError: 'x'"]),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_a_program_outlives_its_output_or_ends_in_one_line(case):
    does, before, status, seen = PROGRAMS[case]
    command = [*before, sys.executable, "-c", SAYS.format(does)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    said = result.stdout + result.stderr
    assert result.returncode == status, said
    for words in seen:
        assert words in said
    assert ("Traceback" in said) == ("Traceback" in seen)
    assert "Exception ignored" not in said


def test_interrupted_threads_do_not_delay_the_end_or_crash_it():
    """A usual exit would wait for the thread, as it does for one in which JAX compiles."""
    does = "import threading, time, os, signal; cli.ON_DEVICES.set()\n"
    does += "    threading.Thread(target=time.sleep, args=(9999,)).start()"
    does += "; os.kill(os.getpid(), signal.SIGINT); time.sleep(9999)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SAYS.format(does)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert (result.returncode, result.stdout) == (INTERRUPTED, "")
    assert result.stderr == "\nstopped at once: run the same command again to go on\n"


HEADER = b"2026-01-01 11:40:02.93: E external/xla/xla/service/slow_operation_alarm.cc:73] "
STARS = b"********************************\n"
WHAT = b"[Compiling module jit_steps] Very slow compile? If you want to file a bug, run with envvar XLA_FLAGS\n"
MESSAGES = {  # what native code writes, in pieces, and what arrives
    "alarm": ([b"one\n", HEADER + b"\n" + STARS + WHAT + STARS, b"two\n"], b"one\ntwo\n"),
    "its end": ([HEADER + b"The operation took 2m29s\n\n" + STARS + WHAT + STARS], b""),
    "in pieces": ([b"one\n" + HEADER, b"\n" + STARS + WHAT, STARS + b"two"], b"one\ntwo"),
    "another alarm": ([HEADER + b"Constant folding takes > 1s\n"], HEADER + b"Constant folding takes > 1s\n"),
    "error": (
        [b"E0000 cuda_dnn.cc:22] Out of memory\n", b"no newline"],
        b"E0000 cuda_dnn.cc:22] Out of memory\nno newline",
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_only_the_alarm_of_a_slow_compilation_is_left_out(case):
    pieces, expected = MESSAGES[case]
    arrived, kept = b"", b""
    for piece in pieces:
        passed, kept = without_alarms(kept + piece, ended=False)
        arrived += passed
    assert arrived + without_alarms(kept, ended=True)[0] == expected


def test_what_native_code_says_before_it_aborts_arrives():
    does = f"import os; os.write(2, {HEADER + chr(10).encode() + STARS + WHAT + STARS!r} + b'the reason'); os.abort()"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SAYS.format(does)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert (result.returncode, result.stderr) == (-signal.SIGABRT, "the reason")
