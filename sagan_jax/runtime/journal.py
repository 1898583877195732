"""Appends lines to a file on a disk or in a bucket; keeps lines that cannot be written until they can be."""

import contextlib
import os
import time
from pathlib import Path

from etils import epath

from sagan_jax.runtime.storage import describe_error, is_remote, write_atomic
from sagan_jax.runtime.timing import warn

UPLOAD_EVERY = 60.0  # seconds; an object in a bucket can only be replaced as a whole


class Journal:
    """A text file that lines are appended to.

    Args:
      file: created with the first line, with its folder where that is missing.
    """

    def __init__(self, file: epath.Path):
        self.file = file
        self._remote = is_remote(file)
        self._waiting: list[bytes] = []
        # The content before the waiting lines where the file must be replaced; None where they can be appended.
        self._before = self._read() if self._remote else None
        self._uploaded = time.monotonic()
        self._failing = False

    def append(self, line: str) -> None:
        """Appends a line; in a bucket it appears within `UPLOAD_EVERY` seconds."""
        self._waiting.append(line.encode() + b"\n")
        if not self._remote or time.monotonic() - self._uploaded > UPLOAD_EVERY:
            self.flush()

    def replace(self, lines: list[str]) -> None:
        """Replaces all lines."""
        self._waiting, self._before = [line.encode() + b"\n" for line in lines], b""
        self._write_waiting()

    def flush(self) -> None:
        """Writes the waiting lines. The first failure in a row is a warning; the lines wait for the next call."""
        if self._waiting:
            self._write_waiting()

    def lines(self) -> list[str]:
        """Returns all lines, the waiting ones included; the last in the file may have been cut short by a crash."""
        before = self._read() if self._before is None else self._before
        return (before + b"".join(self._waiting)).decode().splitlines()

    def _read(self) -> bytes:
        return self.file.read_bytes() if self.file.exists() else b""

    def _write_waiting(self) -> None:
        data = b"".join(self._waiting)
        try:
            if not self._remote:
                Path(self.file).parent.mkdir(parents=True, exist_ok=True)
            if self._before is None:
                self._append(data)
            else:
                write_atomic(self.file, self._before + data)
        except Exception as error:  # a bucket has its own kinds
            if not self._failing:
                warn(f"{self.file} cannot be written ({describe_error(error)}): its lines wait until it can")
            self._failing = True
            return
        self._before = (self._before or b"") + data if self._remote else None
        self._waiting, self._failing, self._uploaded = [], False, time.monotonic()

    def _append(self, data: bytes) -> None:
        with Path(self.file).open("ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                if file.write(data) != len(data):
                    raise OSError(None, "the disk is full")
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(end)  # leave no partial line
                raise
