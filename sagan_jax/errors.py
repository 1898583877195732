"""Exceptions that programs report in one sentence, and their exit statuses; docs/runbook.md lists them."""

import contextlib
import sys
from collections.abc import Callable, Iterator

FAILED, BAD_INPUT, DIVERGED = 1, 2, 3
RUN_AGAIN = 75  # stopped on request, with everything saved; EX_TEMPFAIL of sysexits.h
HUNG = 76  # made no progress; can be run again
INTERRUPTED = 130  # stopped at once, by a second Ctrl-C


class InputError(ValueError):
    """The user's input is wrong: a config field, a flag, a data set, a workdir.

    The message is one sentence that names the field or file, its value and the remedy. Programs print it without a
    traceback and exit with status 2.
    """


class DivergedError(RuntimeError):
    """A loss or a gradient is not finite, or too large."""


class FailedError(RuntimeError):
    """Something outside the program failed, and running it again may succeed: a full disk, a machine that is gone."""


class StoppedError(BaseException):
    """The run was stopped on request, with everything saved.

    No subclass of Exception, like KeyboardInterrupt, so that no handler of tolerable failures catches it.
    """


def exit_status(program: Callable[[], None]) -> int:
    """Runs a program and returns 0, or after an error prints one sentence and returns one of the statuses above."""
    try:
        program()
    except InputError as error:
        return _print_error(f"error: {error}", BAD_INPUT)
    except DivergedError as error:
        return _print_error(f"error: {error}", DIVERGED)
    except FailedError as error:
        return _print_error(f"error: {error}", FAILED)
    except StoppedError as error:
        return _print_error(str(error), RUN_AGAIN)
    except KeyboardInterrupt:
        return _print_error("\nstopped at once: run the same command again to go on", INTERRUPTED)
    return 0


@contextlib.contextmanager
def os_errors_as_input_errors() -> Iterator[None]:
    """Raises InputError for an OSError within its context, in which all files are ones that the user named."""
    try:
        yield
    except OSError as error:
        where, reason = error.filename or "a file", error.strerror or error
        raise InputError(f"{where} cannot be used ({reason}): give another path.") from error


def _print_error(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status
