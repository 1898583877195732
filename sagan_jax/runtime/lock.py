"""Allows one run per workdir: by a file lock on a disk, by a file with a heartbeat in a bucket, which has no locks."""

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
from typing import TypedDict

from etils import epath

from sagan_jax.errors import BAD_INPUT, InputError
from sagan_jax.runtime.background import in_background
from sagan_jax.runtime.documents import Name, read_document
from sagan_jax.runtime.storage import describe_error, is_remote
from sagan_jax.runtime.timing import warn
from sagan_jax.runtime.workdir import LOCK_FILE

HEARTBEAT = 15.0  # seconds between two in a bucket
STALE_AFTER = 3 * HEARTBEAT  # seconds without a heartbeat after which a run is dead
SETTLED_AFTER = 1.0  # seconds after which two runs that began together see which of them wrote last


class Heartbeat(TypedDict):
    """What a run keeps writing into its lock in a bucket: who it is, and something new each time."""

    owner: Name
    run: Name
    beat: Name


def workdir_lock(workdir: epath.Path) -> contextlib.AbstractContextManager[None]:
    """Keeps other runs out of an existing folder, within its context; the lock ends with the process in any case.

    In a bucket it ends the process, with status `errors.BAD_INPUT`, if another run takes the folder nevertheless.

    Raises:
      InputError: another run uses the folder.
    """
    return _heartbeat_lock(workdir / LOCK_FILE) if is_remote(workdir) else _file_lock(Path(workdir / LOCK_FILE))


def lock_is_gone(workdir: epath.Path) -> bool:
    """Returns whether the lock file of this process was deleted, perhaps with its folder, and must be taken again.

    Always False in a bucket, where the heartbeat writes the file again.
    """
    path = workdir / LOCK_FILE
    return not is_remote(workdir) and (not path.exists() or path.read_text().strip() != _own_name())


@contextlib.contextmanager
def _file_lock(path: Path) -> Iterator[None]:
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
def _heartbeat_lock(path: epath.Path) -> Iterator[None]:
    """Compares no clocks: a run that finds a file waits to see whether it changes."""
    _wait_for_heartbeat(path)
    run = uuid.uuid4().hex

    def beat() -> None:
        path.write_text(json.dumps({"owner": _own_name(), "run": run, "beat": uuid.uuid4().hex}))

    def is_own() -> bool:
        return not path.exists() or _read(path)["run"] == run

    def beat_until(ended: threading.Event) -> None:
        while not ended.wait(HEARTBEAT):
            try:
                if is_own():
                    beat()
                else:
                    print(f"error: {_in_use(path, _owner(path))}", file=sys.stderr, flush=True)
                    os._exit(BAD_INPUT)
            except Exception as error:  # the bucket may be unreachable for a while
                warn(f"{path} could not be written ({describe_error(error)})")

    beat()
    time.sleep(SETTLED_AFTER)
    if not is_own():
        raise _in_use(path, _owner(path))
    try:
        with in_background(beat_until, name="lock"):
            yield
    finally:
        with contextlib.suppress(Exception):  # a file that stays is stale soon
            if is_own():
                path.unlink(missing_ok=True)


def _wait_for_heartbeat(path: epath.Path) -> None:
    """Raises InputError as soon as the file changes; returns once it is stale or gone."""
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
    return _read(path)["owner"]


def _read(path: epath.Path) -> Heartbeat:
    return read_document(path, Heartbeat, "delete it if no run uses the folder")


def _own_name() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def _in_use(path: epath.Path | Path, owner: str) -> InputError:
    remedy = "wait for it, stop it, or choose another folder"
    return InputError(f"is in use by another run ({owner})", field="--workdir", value=path.parent, remedy=remedy)
