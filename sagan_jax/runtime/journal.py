"""A file that grows line by line, on a disk or in a bucket; lines that cannot be written wait until they can."""

import contextlib
import os
import time
from pathlib import Path

from etils import epath

from sagan_jax.runtime.storage import describe_error, is_remote, write_atomic
from sagan_jax.runtime.timing import warn

UPLOAD_EVERY = 60.0  # seconds; an object in a bucket can only be written as a whole


class Journal:
    """Lines of text in a file.

    Args:
      file: made with the first line, and its folder too where that is missing.
    """

    def __init__(self, file: epath.Path):
        self.file = file
        self._remote = is_remote(file)
        self._waiting: list[bytes] = []
        # What comes before the waiting lines, where the file must be written as a whole; None: they are appended.
        self._before = self._read() if self._remote else None
        self._uploaded = time.monotonic()
        self._failing = False

    def append(self, line: str) -> None:
        """Adds a line; in a bucket it is there within a minute."""
        self._waiting.append(line.encode() + b"\n")
        if not self._remote or time.monotonic() - self._uploaded > UPLOAD_EVERY:
            self.flush()

    def replace(self, lines: list[str]) -> None:
        """Makes these all the lines."""
        self._waiting, self._before = [line.encode() + b"\n" for line in lines], b""
        self._write_waiting()

    def flush(self) -> None:
        """Writes what waits. A failure is told once, and the lines wait for the next time."""
        if self._waiting:
            self._write_waiting()

    def lines(self) -> list[str]:
        """All lines, also those that wait; one that was cut short by a crash is the last of the file."""
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
                    file.truncate(end)  # no half lines
                raise
