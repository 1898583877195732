"""Leaves XLA's alarm about slow compilations out of what native code writes to standard error, and nothing else.

The alarm is logged as an error and has no switch. So a small process filters the descriptor: one of its own, so that
what native code writes just before it aborts arrives too. This file is that process's program, and imports no package.
"""

import contextlib
import io
import os
import re
import select
import signal
import subprocess
import sys

INPUT, ERROR = 0, 2  # file descriptors
STARS = rb"\*{8,}\n"
# A header, perhaps the time that it took, and between two lines of stars what is compiled.
ALARM = re.compile(
    rb"[^\n]*slow_operation_alarm\.cc:\d+\][^\n]*\n\n?" + STARS + rb"[^\n]*Very slow compile\?[^\n]*\n" + STARS
)
BEGIN = re.compile(rb"[^\n]*slow_operation_alarm\.cc:")
PATIENCE = 1.0  # seconds after which the beginning of an alarm without an end is passed on


def leave_out_alarms() -> int:
    """Has all that is written to the descriptor of standard error, from here on, go through the filter.

    Returns:
      A descriptor that leads where standard error led, for Python's own messages: a terminal stays one for them.
    """
    reading, writing = os.pipe()
    try:
        # In a session of its own, so that Ctrl-C does not end it before the program.
        subprocess.Popen([sys.executable, "-I", "-S", __file__], stdin=reading, stdout=ERROR, start_new_session=True)
        direct = os.dup(ERROR)
        os.dup2(writing, ERROR)
        return direct
    except OSError:  # without the filter the program works as well
        return ERROR
    finally:
        os.close(reading)
        os.close(writing)


def without_alarms(text: bytes, *, ended: bool) -> tuple[bytes, bytes]:
    """Returns what of a text to pass on, and what to keep until more of it is known.

    Args:
      text: since what was passed on last.
      ended: whether nothing more comes soon.
    """
    text = ALARM.sub(b"", text)
    begin = None if ended else BEGIN.search(text)
    return (text, b"") if begin is None else (text[: begin.start()], text[begin.start() :])


def main() -> None:
    """Passes standard input on to standard output, without alarms, until it ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with the program
    kept, more = b"", True
    with contextlib.suppress(OSError):  # nobody reads any more
        while more:
            ready, _, _ = select.select([INPUT], [], [], PATIENCE if kept else None)
            data = os.read(INPUT, io.DEFAULT_BUFFER_SIZE) if ready else b""
            more = bool(data or not ready)
            passed, kept = without_alarms(kept + data, ended=not data)
            with open(1, "wb", buffering=0, closefd=False) as output:
                output.write(passed)


if __name__ == "__main__":
    main()
