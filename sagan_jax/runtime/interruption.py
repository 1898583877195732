"""Stops a run on SIGTERM (a preemption), Ctrl-C or SIGHUP with nothing lost, all processes after the same step."""

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

STANDARD_ERROR = 2  # file descriptor; a signal handler must not call print, which is not reentrant


class StopRequest:
    """Turns SIGTERM, SIGINT and SIGHUP into a request to stop, within its context; a second SIGINT ends the process.

    Within `steps` the run continues until it calls `reached`. Elsewhere everything is saved, so in a single process the
    signal handler raises StoppedError where it is, in the middle of a compilation too.

    With several processes a signal to any of them stops all. There JAX itself catches SIGTERM and agrees on a call of
    `reached` that no process has made yet, so the others are passed on as SIGTERM. A SIGHUP that is ignored stays so.
    """

    def __init__(self) -> None:
        self._several = jax.process_count() > 1
        self._requested = self._taking_steps = False
        self._calls = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # only there may handlers be set
            caught = [signal.SIGINT] if self._several else [signal.SIGINT, signal.SIGTERM]
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
                caught.append(signal.SIGHUP)
            self._before = {number: signal.signal(number, self._handle) for number in caught}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def steps(self) -> Iterator[None]:
        """Marks steps that are not saved yet, so a signal waits for `reached`. At its end everything must be saved."""
        self._taking_steps = True
        try:
            yield
        finally:
            self._taking_steps = False
        if self._requested and not self._several:  # after the last call of `reached`
            raise stopped()

    @contextlib.contextmanager
    def nothing_to_save(self) -> Iterator[None]:
        """Marks a time within `steps` before the first of them, in which a signal stops the run where it is."""
        self._taking_steps = False
        if self._requested and not self._several:
            raise stopped()
        try:
            yield
        finally:
            self._taking_steps = True

    def reached(self) -> bool:
        """Returns whether to stop now; all processes call it equally often, before the first step and after each call.

        Nothing else may call JAX's sync point, which compares the numbers of calls.
        """
        self._calls += 1
        # False without jax.distributed. With it, JAX may have caught a SIGTERM before this context was entered.
        agreed = multihost_utils.reached_preemption_sync_point(self._calls)
        return agreed or (self._requested and not self._several)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._requested:
            if number == signal.SIGINT:
                say("stopped at once: run the same command again to go on")
                os._exit(INTERRUPTED)  # a usual exit would wait for a save in the background
            return
        self._requested = True
        name = signal.Signals(number).name
        if not (self._taking_steps or self._several):
            say(f"{name}: nothing is left to save; Ctrl-C again stops at once")
            raise stopped()
        say(f"{name}: saving after this step; Ctrl-C again stops at once")
        if self._several:
            os.kill(os.getpid(), signal.SIGTERM)


def say(text: str) -> None:
    """Writes a line on standard error from a signal handler, if it can be written."""
    with contextlib.suppress(OSError):  # the terminal may be what has gone
        os.write(STANDARD_ERROR, f"\n{text}\n".encode())


def stopped() -> StoppedError:
    """Returns the error to raise where a run is stopped outside its steps."""
    return StoppedError("stopped while no steps were taken; all that were are saved: run the same again to go on")
