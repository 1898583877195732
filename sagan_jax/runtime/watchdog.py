"""Ends a process that makes no progress, so that a hanging run becomes a failing one."""

import contextlib
import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator

from sagan_jax.errors import HUNG

PAUSE_FACTOR = 10  # times as long for what is no step: starting, compiling, going back, drawing, scoring


class Watchdog:
    """Ends the process with status `errors.HUNG` after too long without a `heartbeat`, within its context.

    Prints the stack of each thread before. Time in which the whole process is stopped does not count.

    Args:
      seconds: limit between two heartbeats, `PAUSE_FACTOR` times as long before the first; 0: no limit.
      end: ends the process; a test may pass its own.
    """

    def __init__(self, seconds: float, end: Callable[[int], None] = os._exit):
        self._seconds, self._end = seconds, end
        self._closed = threading.Event()
        self.allow_pause()

    def heartbeat(self) -> None:
        """Reports progress, and starts the wait for the next heartbeat."""
        self._silent, self._limit = 0.0, self._seconds

    def allow_pause(self) -> None:
        """Starts a longer wait for the next heartbeat, before work that takes longer than a step."""
        self._silent, self._limit = 0.0, PAUSE_FACTOR * self._seconds

    @contextlib.contextmanager
    def steps(self) -> Iterator[None]:
        """Wraps the steps, which send heartbeats; allows a pause after them."""
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
