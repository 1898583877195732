"""How many images are done: a bar on a terminal, a line now and then elsewhere."""

import sys
from typing import Any

import tqdm

SECONDS_PER_LINE = 10  # between reports that go into a file


class ImageCounter:
    """A bar with speed and remaining time.

    Args:
      title: what is being done.
      total: images in all.
      done: images that are done already.
    """

    def __init__(self, title: str, total: int, done: int = 0):
        people = sys.stderr.isatty()
        options: dict[str, Any] = {} if people else {"mininterval": SECONDS_PER_LINE, "file": _Lines(), "ncols": 0}
        self._bar = tqdm.tqdm(total=total, initial=done, desc=title, unit=" images", smoothing=0.1, **options)

    def show(self, done: int) -> None:
        """Moves the bar to so many images."""
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> "ImageCounter":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


class _Lines:
    """Standard error for a bar that is not to overwrite itself."""

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            print(line, file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()
