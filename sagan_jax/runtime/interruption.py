"""Stopping on request: SIGTERM (a preemption) and Ctrl-C end a run at the next step, the same one in all processes."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """As a context, in which SIGTERM and SIGINT ask the run to stop and a second SIGINT stops it at once.

    With several processes a signal to any of them counts. Then JAX itself catches SIGTERM and finds a call that no
    process has begun yet, so an interrupt is passed on as a SIGTERM.
    """

    def __init__(self) -> None:
        self._several = jax.process_count() > 1
        self._asked = False
        self._calls = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # as a library it may run in another, without signals
            caught = (signal.SIGINT,) if self._several else (signal.SIGINT, signal.SIGTERM)
            self._before = {number: signal.signal(number, self._handle) for number in caught}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def reached(self) -> bool:
        """Whether to stop now; to be asked by all processes after each call of the step, equally often."""
        self._calls += 1
        return multihost_utils.reached_preemption_sync_point(self._calls) if self._several else self._asked

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True
        name = signal.Signals(number).name
        # Not by print, which must not be entered twice.
        os.write(sys.stderr.fileno(), f"\n{name}: saving after this step; Ctrl-C again stops at once\n".encode())
        if self._several:
            os.kill(os.getpid(), signal.SIGTERM)
