"""The one exception for input that a person can correct, and what programs make of it."""

import sys
from collections.abc import Callable


class InputError(ValueError):
    """Something the user gave is wrong: a config field, a flag, a data set, a workdir.

    The message is one sentence that names the field or file, its value and the
    remedy. Programs print it without a traceback and exit with status 2.
    """


def exit_status(program: Callable[[], None]) -> int:
    """Runs a program; 0, or after bad input 2 and one sentence on standard error."""
    try:
        program()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where, reason = error.filename or "a file", error.strerror or error
        print(f"error: {where} cannot be used ({reason}): give another path.", file=sys.stderr)
        return 2
    return 0
