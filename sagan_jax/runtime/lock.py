"""One run per workdir: a lock on a local folder, and in a bucket, which knows no locks, a file that is kept fresh."""

import contextlib
import fcntl
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from sagan_jax.errors import InputError
from sagan_jax.runtime.storage import is_remote
from sagan_jax.runtime.timing import warn

LOCK_FILE = ".lock"
BEAT = 15.0  # seconds between two signs of life in a bucket
STALE_AFTER = 3 * BEAT  # seconds without one, after which its run is known to be dead


def alone(workdir: epath.Path) -> contextlib.AbstractContextManager[None]:
    """A context in which other runs are kept out of an existing folder. It ends with the process, however that ends.

    Raises:
      InputError: another run is in it.
    """
    return _kept_fresh(workdir / LOCK_FILE) if is_remote(workdir) else _locked(Path(workdir / LOCK_FILE))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise _in_use(path, file.read().strip()) from error
        except OSError as error:
            warn(f"{path.parent} cannot be locked ({error.strerror}): start no second run in it")
        file.truncate(0)
        file.write(_own_name() + "\n")
        file.flush()
        yield


@contextlib.contextmanager
def _kept_fresh(path: epath.Path) -> Iterator[None]:
    """No clocks are compared: whoever finds a file waits whether it changes."""
    if path.exists():
        found, end = path.read_text(), time.monotonic() + STALE_AFTER
        while time.monotonic() < end:
            time.sleep(1.0)
            if not path.exists():
                break
            if path.read_text() != found:
                raise _in_use(path, json.loads(found)["owner"])
    ended = threading.Event()

    def beat() -> None:
        path.write_text(json.dumps({"owner": _own_name(), "beat": uuid.uuid4().hex}))

    def keep_beating() -> None:
        while not ended.wait(BEAT):
            try:
                beat()
            except Exception as error:  # the bucket is out of reach for a while
                warn(f"{path} could not be written ({error})")

    beat()
    thread = threading.Thread(target=keep_beating, name="lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        path.unlink(missing_ok=True)


def _own_name() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def _in_use(path: epath.Path | Path, owner: str) -> InputError:
    return InputError(
        f"--workdir={path.parent} is in use by another run ({owner}): wait for it, stop it, or choose another folder."
    )
