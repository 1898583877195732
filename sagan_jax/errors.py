"""The exception for input that a person can correct, and the exit statuses of programs; docs/runbook.md lists them."""

import contextlib
import sys
from collections.abc import Callable, Iterator

FAILED, BAD_INPUT, DIVERGED = 1, 2, 3
RUN_AGAIN = 75  # asked to stop, and everything is saved; the number of sysexits.h for "try again later"
HUNG = 76  # no progress; can be run again
INTERRUPTED = 130  # at once, by a second Ctrl-C


class InputError(ValueError):
    """Something the user gave is wrong: a config field, a flag, a data set, a workdir.

    The message is one sentence that names the field or file, its value and the
    remedy. Programs print it without a traceback and exit with status 2.
    """


class DivergedError(RuntimeError):
    """A loss or a gradient is not finite, or too large."""


class FailedError(RuntimeError):
    """Something around the program failed, and the same again may succeed: a full disk, a machine that is gone."""


class StoppedError(BaseException):
    """The run was asked to stop; what it has done is saved.

    No Exception, as KeyboardInterrupt is none: nothing on the way is to take it for a failure that one can live with.
    """


def exit_status(program: Callable[[], None]) -> int:
    """Runs a program and returns 0, or one of the statuses above with one sentence on standard error."""
    try:
        program()
    except InputError as error:
        return _said(f"error: {error}", BAD_INPUT)
    except DivergedError as error:
        return _said(f"error: {error}", DIVERGED)
    except FailedError as error:
        return _said(f"error: {error}", FAILED)
    except StoppedError as error:
        return _said(str(error), RUN_AGAIN)
    except KeyboardInterrupt:
        return _said("\nstopped at once: run the same command again to go on", INTERRUPTED)
    return 0


@contextlib.contextmanager
def os_errors_as_input_errors() -> Iterator[None]:
    """Within it every file is one that the user named: those that cannot be read or written raise InputError."""
    try:
        yield
    except OSError as error:
        where, reason = error.filename or "a file", error.strerror or error
        raise InputError(f"{where} cannot be used ({reason}): give another path.") from error


def _said(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status
