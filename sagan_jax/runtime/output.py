"""Standard output and standard error that survive what becomes of them: a closed pipe, a full disk, a poor encoding."""

import contextlib
import errno
import io
import os
import signal
import sys
from typing import Any

GONE = (errno.EPIPE, errno.EIO)  # a closed pipe; a terminal that has gone


class LastingFile(io.FileIO):
    """A standard stream to which writing never fails: what cannot be written is dropped.

    Where nobody reads any more, the process gets a SIGHUP, once, as it does from a terminal that has gone: whoever
    catches it saves and ends.
    """

    hung_up = False  # of all streams, which often have one reader

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno in GONE:
                self._replace()
            return len(memoryview(data))

    def _replace(self) -> None:
        """Sends all that is still written to nowhere, the messages of native code included."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if not LastingFile.hung_up:
            LastingFile.hung_up = True
            signal.raise_signal(signal.SIGHUP)


def open_descriptors() -> None:
    """Opens those of the standard streams that whoever started this process has closed; they lead nowhere."""
    while True:  # the lowest numbers, so that no other file gets that of a stream that was closed
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            break


def make_output_lasting(error: int = 2) -> None:
    """Replaces the standard streams of this process by such that never fail; characters that lack are escaped.

    Args:
      error: descriptor of standard error.
    """
    flush_output()
    for name, number in (("stdout", 1), ("stderr", error)):
        stream = getattr(sys, name)
        unbuffered = getattr(stream, "write_through", False)  # as PYTHONUNBUFFERED asks for
        file: Any = LastingFile(number, "wb", closefd=False)
        lasting = io.TextIOWrapper(
            file if unbuffered else io.BufferedWriter(file),
            encoding=getattr(stream, "encoding", None) or "utf-8",
            errors="backslashreplace",  # names of files need not be valid text
            line_buffering=name == "stderr" or getattr(stream, "line_buffering", False),
            write_through=unbuffered,
        )
        setattr(sys, name, lasting)


def flush_output() -> None:
    """Writes what the standard streams still hold back, as far as that is possible."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # replaced by anything, or closed
            stream.flush()
