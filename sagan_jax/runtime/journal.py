"""A file that grows line by line, on a disk or in a bucket; lines that cannot be written wait until they can."""

import contextlib
import os
import time
from pathlib import Path

from etils import epath

from sagan_jax.runtime.storage import is_remote, write_whole
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
        self._whole = file.read_bytes() if self._remote and file.exists() else b""  # of an object in a bucket
        self._uploaded = time.monotonic()
        self._failing = False

    def append(self, line: str) -> None:
        """Adds a line; in a bucket it is there within a minute."""
        self._waiting.append(line.encode() + b"\n")
        if not self._remote or time.monotonic() - self._uploaded > UPLOAD_EVERY:
            self.flush()

    def flush(self) -> None:
        """Writes what waits. A failure is told once, and the lines wait for the next time."""
        if not self._waiting:
            return
        try:
            self._write(b"".join(self._waiting))
        except OSError as error:
            if not self._failing:
                warn(f"{self.file} cannot be written ({error.strerror or error}): its lines wait until it can")
            self._failing = True
        else:
            self._waiting, self._failing = [], False

    def replace(self, lines: list[str]) -> None:
        """Makes these all the lines of the file."""
        self._waiting, self._whole = [], "".join(line + "\n" for line in lines).encode()
        write_whole(self.file, self._whole)

    def lines(self) -> list[str]:
        """What the file holds, without what waits; a line cut short by a crash is the last."""
        return self.file.read_text().splitlines() if self.file.exists() else []

    def _write(self, data: bytes) -> None:
        if self._remote:
            write_whole(self.file, self._whole + data)
            self._whole, self._uploaded = self._whole + data, time.monotonic()
            return
        Path(self.file).parent.mkdir(parents=True, exist_ok=True)
        with Path(self.file).open("ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                if file.write(data) != len(data):
                    raise OSError(None, "the disk is full")
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(end)  # no half lines
                raise
