"""One run per workdir: a lock on a local folder, and in a bucket, which knows no locks, a file that is kept fresh."""

import contextlib
import fcntl
import json
import os
import platform
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from sagan_jax.errors import BAD_INPUT, InputError
from sagan_jax.runtime.storage import describe_error, is_remote
from sagan_jax.runtime.timing import warn

LOCK_FILE = ".lock"
BEAT = 15.0  # seconds between two signs of life in a bucket
STALE_AFTER = 3 * BEAT  # seconds without one, after which its run is known to be dead
SETTLED_AFTER = 1.0  # seconds after which it shows which of two runs that began together was the last to write


def workdir_lock(workdir: epath.Path) -> contextlib.AbstractContextManager[None]:
    """A context in which other runs are kept out of an existing folder. It ends with the process, however that ends.

    In a bucket it ends the process, with status `errors.BAD_INPUT`, if another run has taken the folder all the same.

    Raises:
      InputError: another run is in it.
    """
    return _kept_fresh(workdir / LOCK_FILE) if is_remote(workdir) else _locked(Path(workdir / LOCK_FILE))


def lock_is_gone(workdir: epath.Path) -> bool:
    """Whether the lock of this process on a local folder was deleted, maybe with the folder, and must be taken again.

    In a bucket the file is made again, or missed, by what keeps it fresh.
    """
    path = workdir / LOCK_FILE
    return not is_remote(workdir) and (not path.exists() or path.read_text().strip() != _own_name())


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
    _wait_for_signs_of_life(path)
    run, ended = uuid.uuid4().hex, threading.Event()

    def beat() -> None:
        path.write_text(json.dumps({"owner": _own_name(), "run": run, "beat": uuid.uuid4().hex}))

    def is_own() -> bool:
        return not path.exists() or json.loads(path.read_text()).get("run") == run

    def keep_beating() -> None:
        while not ended.wait(BEAT):
            try:
                if is_own():
                    beat()
                else:
                    print(f"error: {_in_use(path, _owner(path))}", file=sys.stderr, flush=True)
                    os._exit(BAD_INPUT)
            except Exception as error:  # the bucket is out of reach for a while
                warn(f"{path} could not be written ({describe_error(error)})")

    beat()
    time.sleep(SETTLED_AFTER)
    if not is_own():
        raise _in_use(path, _owner(path))
    thread = threading.Thread(target=keep_beating, name="lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(Exception):  # left behind, it is stale soon
            if is_own():
                path.unlink(missing_ok=True)


def _wait_for_signs_of_life(path: epath.Path) -> None:
    """Raises InputError as soon as a file changes; returns if it does not, or is gone."""
    if not path.exists():
        return
    found, end = path.read_text(), time.monotonic() + STALE_AFTER
    while time.monotonic() < end:
        time.sleep(1.0)
        if not path.exists():
            return
        if path.read_text() != found:
            raise _in_use(path, _owner(path))


def _owner(path: epath.Path) -> str:
    return json.loads(path.read_text())["owner"]


def _own_name() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def _in_use(path: epath.Path | Path, owner: str) -> InputError:
    return InputError(
        f"--workdir={path.parent} is in use by another run ({owner}): wait for it, stop it, or choose another folder."
    )
