"""Runs a function in a thread beside the program, and ends it with its context."""

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def in_background(function: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Calls `function(ended)` in a thread of this name; when its context ends, sets `ended` and waits for it."""
    ended = threading.Event()
    thread = threading.Thread(target=function, args=(ended,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
