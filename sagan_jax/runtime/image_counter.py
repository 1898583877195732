"""Shows how many images are done: a bar on a terminal, a line every few seconds elsewhere."""

import sys
from typing import Any

import tqdm

SECONDS_PER_LINE = 10  # where the output is no terminal


class ImageCounter:
    """Shows a count of images with speed and remaining time.

    Args:
      title: names the work.
      total: number of all images.
      done: number of images done before.
    """

    def __init__(self, title: str, total: int, done: int = 0):
        terminal = sys.stderr.isatty()
        options: dict[str, Any] = {} if terminal else {"mininterval": SECONDS_PER_LINE, "file": _Lines(), "ncols": 0}
        self._bar = tqdm.tqdm(total=total, initial=done, desc=title, unit=" images", smoothing=0.1, **options)

    def show(self, done: int) -> None:
        """Shows that so many images are done."""
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> "ImageCounter":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


class _Lines:
    """Writes a bar to standard error line by line, where it cannot overwrite itself."""

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            print(line, file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()
