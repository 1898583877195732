"""The exceptions that end a program with one sentence, and the exit statuses; docs/runbook.md lists them."""

import contextlib
from collections.abc import Iterator
from typing import Any

FAILED, BAD_INPUT, DIVERGED = 1, 2, 3
RUN_AGAIN = 75  # stopped on request, with everything saved; EX_TEMPFAIL of sysexits.h
HUNG = 76  # made no progress; can be run again
INTERRUPTED = 130  # stopped at once, by a second Ctrl-C


BUCKET_LIBRARIES = ("gcsfs", "fsspec", "google", "aiohttp")  # which raise kinds of their own
MOST_LETTERS = 1000  # of a sentence; what users give may be of any length


def one_line(text: str) -> str:
    r"""Returns a text as one line that a terminal can show: escapes what cannot be printed, shortens what is too long.

    >>> one_line("a\nb")
    'a\\nb'
    """
    if len(text) > MOST_LETTERS:
        text = f"{text[: MOST_LETTERS // 2]} ... {text[-MOST_LETTERS // 2 :]}"
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class InputError(ValueError):
    """The user's input is wrong: a config field, a flag, a data set, a workdir.

    Its text is one sentence with the field, its value and the remedy. Programs print it without a traceback and exit
    with status 2.

    >>> str(InputError("is out of range", field="train.steps", value=0, remedy="it must be a number from 1 on"))
    'train.steps = 0 is out of range: it must be a number from 1 on.'
    >>> str(InputError("is not empty", field="--out", value="data", remedy="choose a new folder"))
    '--out=data is not empty: choose a new folder.'
    >>> str(InputError("there is no file weights.npz: give the path of one."))
    'there is no file weights.npz: give the path of one.'

    Args:
      problem: what is wrong, as the sentence goes on after the field; the whole sentence where no field is at fault.
      field: dotted name of a config field, or a flag with its dashes.
      value: of the field; left out where the problem is not the value.
      remedy: what to do about it.
    """

    def __init__(self, problem: str, *, field: str = "", value: Any = ..., remedy: str = ""):
        super().__init__(problem)
        self.problem, self.field, self.value, self.remedy = problem, field, value, remedy

    def __str__(self) -> str:
        subject = self.field
        if self.value is not ...:
            subject += f"={self.value}" if subject.startswith("-") else f" = {self.value!r}"
        space = "" if not subject or self.problem.startswith((",", ":")) else " "
        sentence = subject + space + self.problem + (f": {self.remedy}" if self.remedy else "")
        return one_line(sentence if sentence.endswith((".", "?")) else f"{sentence}.")

    def renamed(self, field: str) -> "InputError":
        """Returns the error for a caller that has another name for the field; itself where no field is at fault."""
        if not self.field:
            return self
        return InputError(self.problem, field=field, value=self.value, remedy=self.remedy)


class DivergedError(RuntimeError):
    """A loss or a gradient is not finite, or too large."""


class FailedError(RuntimeError):
    """Something outside the program failed, and running it again may succeed: a full disk, a machine that is gone."""


class StoppedError(BaseException):
    """The run was stopped on request, with everything saved.

    Like KeyboardInterrupt it is no Exception: code that survives failures must not take it for one.
    """


@contextlib.contextmanager
def os_errors_as_input_errors() -> Iterator[None]:
    """Raises InputError for every OSError within: for programs whose files are all named by the user."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] in BUCKET_LIBRARIES:
            failure = f"{type(error).__name__}: {str(error)[:200]}"
            wrong = f"a bucket cannot be used ({failure}): check its name, the network and the credentials."
            raise InputError(wrong) from error
        if not isinstance(error, OSError):
            raise
        where, reason = error.filename or "a file", error.strerror or error
        raise InputError(f"{where} cannot be used ({reason}): give another path.") from error
