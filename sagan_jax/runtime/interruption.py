"""Stopping on request: SIGTERM (a preemption) and Ctrl-C end a run with nothing lost, all processes after one step."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

from sagan_jax.errors import INTERRUPTED, StoppedError

STANDARD_ERROR = 2  # its number; in a handler nothing is printed, since print must not be entered twice


class StopRequest:
    """As a context around a run, in which SIGTERM and SIGINT ask it to stop and a second SIGINT ends it at once.

    While steps are taken (`steps`) it goes on until it asks `reached`. At other times everything is saved, and a single
    process stops where it is: StoppedError is raised there.

    With several processes a signal to any of them counts, once they ask. Then JAX itself catches SIGTERM and finds a
    question that no process has asked yet, so an interrupt is passed on as a SIGTERM.
    """

    def __init__(self) -> None:
        self._several = jax.process_count() > 1
        self._asked = self._taking_steps = False
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

    @contextlib.contextmanager
    def steps(self) -> Iterator[None]:
        """Within it there is something to save, so a signal waits for `reached`. At the end all must be saved."""
        self._taking_steps = True
        try:
            yield
        finally:
            self._taking_steps = False
        if self._asked and not self._several:  # since `reached` was asked for the last time
            raise stopped()

    def reached(self) -> bool:
        """Whether to stop now; to be asked by all processes before the first step and after each call, equally often.

        Nothing else may ask JAX, which compares the numbers of calls.
        """
        self._calls += 1
        # False where no processes were joined. Where one was, JAX may have caught a SIGTERM before this context began.
        agreed = multihost_utils.reached_preemption_sync_point(self._calls)
        return agreed or (self._asked and not self._several)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            if number == signal.SIGINT:
                os.write(STANDARD_ERROR, b"\nstopped at once: run the same command again to go on\n")
                os._exit(INTERRUPTED)  # else a save in the background would be waited for
            return
        self._asked = True
        name = signal.Signals(number).name
        if not (self._taking_steps or self._several):
            os.write(STANDARD_ERROR, f"\n{name}: nothing is left to save; Ctrl-C again stops at once\n".encode())
            raise stopped()
        os.write(STANDARD_ERROR, f"\n{name}: saving after this step; Ctrl-C again stops at once\n".encode())
        if self._several:
            os.kill(os.getpid(), signal.SIGTERM)


def stopped() -> StoppedError:
    """What is raised where a run stops while it takes no steps."""
    return StoppedError("stopped while no steps were taken; all that were are saved: run the same again to go on")
