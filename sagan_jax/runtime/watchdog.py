"""Ends a process that no longer gets anywhere, so that a hanging run becomes a failing one."""

import contextlib
import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator

from sagan_jax.errors import HUNG


class Watchdog:
    """As a context: ends the process with status `errors.HUNG` after too long without a `sign_of_life`.

    It says where each thread was. Time in which the whole process is stopped does not count.

    Args:
      seconds: how long; 0: for ever.
      end: ends the process; a test may pass its own.
    """

    def __init__(self, seconds: float, end: Callable[[int], None] = os._exit):
        self._seconds, self._end = seconds, end
        self._silent, self._running = 0.0, True
        self._closed = threading.Event()

    def sign_of_life(self) -> None:
        """Starts the wait anew."""
        self._silent = 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Around what may take longer and is no step."""
        self._running = False
        yield
        self._silent, self._running = 0.0, True

    def __enter__(self) -> "Watchdog":
        if self._seconds:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()

    def _watch(self) -> None:
        pause = min(1.0, self._seconds / 4)
        while not self._closed.wait(pause):
            self._silent += pause if self._running else 0.0
            if self._silent > self._seconds:
                print(
                    f"error: no step was finished for more than faults.hang_seconds = {self._seconds:g}: the run ends"
                    " here and can be continued. What each thread was doing:",
                    file=sys.stderr,
                )
                faulthandler.dump_traceback(file=sys.stderr)
                sys.stderr.flush()
                self._end(HUNG)
                return
