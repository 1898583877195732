"""Says what a program is busy with while that takes long, such as a compilation, of which nothing else is seen."""

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Iterator

import tqdm

from sagan_jax.runtime.background import in_background
from sagan_jax.runtime.timing import info

SILENT = 2.0  # seconds after which something is said
LINES_AT = (2, 10, 30, 60)  # seconds at which a line is printed where there is no terminal, and then each minute


@contextlib.contextmanager
def busy(doing: str) -> Iterator[None]:
    """Says "doing, N s so far" within its context: on a terminal in one place, elsewhere in ever fewer lines.

    At the end it says how long it took, if anything was said before.
    """
    start = time.monotonic()
    show = _count_in_place if sys.stderr.isatty() else _print_lines
    with in_background(functools.partial(show, doing, start), name="busy"):
        yield
    seconds = time.monotonic() - start
    if seconds > SILENT:
        info(f"{doing}: done in {seconds:.0f} s")


def _count_in_place(doing: str, start: float, ended: threading.Event) -> None:
    if ended.wait(SILENT):
        return
    with tqdm.tqdm(bar_format="{desc}", leave=False) as line:
        while not ended.wait(1.0):
            line.set_description_str(f"{doing}, {time.monotonic() - start:.0f} s so far")


def _print_lines(doing: str, start: float, ended: threading.Event) -> None:
    minute = 1
    moments = iter(LINES_AT)
    while True:
        moment = next(moments, None)
        if moment is None:
            minute += 1
            moment = 60 * minute
        if ended.wait(max(0.0, start + moment - time.monotonic())):
            return
        info(f"{doing}, {moment} s so far")
