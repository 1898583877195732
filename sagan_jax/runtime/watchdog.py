"""Ends a process that no longer gets anywhere, so that a hanging run becomes a failing one."""

import contextlib
import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator

from sagan_jax.errors import HUNG

PAUSE_FACTOR = 10  # times as long may take what is no step: starting, compiling, going back, drawing, scoring


class Watchdog:
    """As a context: ends the process with status `errors.HUNG` after too long without a `heartbeat`.

    It says where each thread was. Time in which the whole process is stopped does not count.

    Args:
      seconds: how long, between two signs of life; `PAUSE_FACTOR` times as long before the first; 0: for ever.
      end: ends the process; a test may pass its own.
    """

    def __init__(self, seconds: float, end: Callable[[int], None] = os._exit):
        self._seconds, self._end = seconds, end
        self._closed = threading.Event()
        self.allow_pause()

    def heartbeat(self) -> None:
        """Starts the wait for the next one."""
        self._silent, self._limit = 0.0, self._seconds

    def allow_pause(self) -> None:
        """Starts the wait for the next sign of life, of which something longer than a step comes first."""
        self._silent, self._limit = 0.0, PAUSE_FACTOR * self._seconds

    @contextlib.contextmanager
    def steps(self) -> Iterator[None]:
        """Within it there are signs of life, and after it there are none for long."""
        try:
            yield
        finally:
            self.allow_pause()

    def __enter__(self) -> "Watchdog":
        if self._seconds:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()

    def _watch(self) -> None:
        pause = min(1.0, self._seconds / 4)
        while not self._closed.wait(pause):
            self._silent += pause
            if self._silent > self._limit:
                print(
                    f"error: nothing was finished for more than {self._limit:g} seconds (faults.hang_seconds ="
                    f" {self._seconds:g} between two steps, {PAUSE_FACTOR} times as long elsewhere): the run ends here"
                    " and can be continued. What each thread was doing:",
                    file=sys.stderr,
                )
                faulthandler.dump_traceback(file=sys.stderr)
                sys.stderr.flush()
                self._end(HUNG)
                return
