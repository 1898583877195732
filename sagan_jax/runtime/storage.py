"""Files on a disk or in a bucket: written whole or not at all, hashed, and copied here where random access needs it.

Paths are `etils.epath` paths, so gs:// works wherever gcsfs or TensorFlow is installed; gcsfs is preferred.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from sagan_jax.errors import InputError

CHUNK = 1 << 20  # bytes read at a time

# By itself etils takes TensorFlow where both are there; what is tested is gcsfs. It asks at the first path in a bucket.
if importlib.util.find_spec("gcsfs"):
    os.environ.setdefault("EPATH_USE_TF", "false")


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path lies in a bucket."""
    return "://" in os.fspath(path)


def write_atomic(path: epath.PathLike, data: bytes) -> None:
    """Writes a file so that it is there with all its bytes or not at all, even if the machine dies."""
    path = epath.Path(path)
    if is_remote(path):  # an object appears when it is complete
        path.write_bytes(data)
        return
    partial = partial_path(Path(path))
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def partial_path(path: Path) -> Path:
    """Where a local file is written before it gets its name; `remove_partial` finds it after a crash."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def publish(finished: Path, path: epath.PathLike) -> None:
    """Gives a completely written local file its name, or copies it into its bucket and removes it here."""
    path = epath.Path(path)
    if is_remote(path):
        epath.Path(finished).copy(path, overwrite=True)
        finished.unlink()
        return
    with finished.open("rb") as file:
        os.fsync(file.fileno())
    finished.replace(path)


def remove_partial(folder: epath.PathLike) -> None:
    """Removes what killed processes left half-written in a folder."""
    if not is_remote(folder):
        for path in Path(folder).glob(".*.partial"):
            path.unlink(missing_ok=True)


def sha256_of(path: epath.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    for chunk in _chunks(epath.Path(path)):
        digest.update(chunk)
    return digest.hexdigest()


def local_copy(folder: epath.PathLike, sha256: dict[str, str], cache: Path) -> Path:
    """A folder on this machine with files of `folder`: itself, or for a bucket `cache`, filled as needed.

    Args:
      folder: where the files are.
      sha256: of each file needed, by name.
      cache: used for buckets; files already there are taken as they are, since only whole ones get there.

    Raises:
      InputError: no space, or a file that does not have its hash.
    """
    if not is_remote(folder):
        for name in sha256:
            if not Path(folder, name).exists():
                raise InputError(f"{folder}/{name} is missing: copy it again, or prepare the data set again.")
        return Path(folder)
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache):
        _fill(cache, epath.Path(folder), sha256)
    return cache


def _fill(cache: Path, folder: epath.Path, sha256: dict[str, str]) -> None:
    remove_partial(cache)
    missing = [name for name in sha256 if not (cache / name).exists()]
    require_space(cache, sum((folder / name).stat().length for name in missing), "data.cache_dir")
    for name in missing:
        partial, digest = partial_path(cache / name), hashlib.sha256()
        with partial.open("wb") as file:
            for chunk in _chunks(folder / name):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != sha256[name]:
            partial.unlink()
            raise InputError(f"{folder}/{name} is damaged: its SHA-256 is not that of dataset.json; prepare it again.")
        publish(partial, cache / name)


@contextlib.contextmanager
def locked(folder: epath.PathLike, field: str | None = None) -> Iterator[None]:
    """Keeps other processes that ask for the same out of a local folder; the lock ends with the process.

    Waits for it; with a field raises InputError instead, naming it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if field else 0))
        yield
    except BlockingIOError as error:
        raise InputError(f"{field}={folder} is being written to by another process: wait for it to end.") from error
    finally:
        os.close(handle)


def require_space(folder: Path, needed: int, field: str) -> None:
    """Raises InputError unless the disk of a local folder has `needed` bytes free and some to spare."""
    free, wanted = shutil.disk_usage(folder).free, needed + needed // 50
    if free < wanted:
        raise InputError(
            f"{field}={folder} has {format_bytes(free)} free, but {format_bytes(wanted)} are needed:"
            " free some space, or choose a folder on another disk."
        )


def existing_parent(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())


def format_bytes(size: int) -> str:
    """Such as 153.6 MB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def describe_error(error: Exception) -> str:
    """Why a file could not be read or written, in short; TensorStore tells of every layer, the system's word last."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else str(error).strip().partition("\n")[0][:300] or type(error).__name__


def _chunks(path: epath.Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
