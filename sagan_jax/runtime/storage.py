"""Files on a disk or in a bucket: written atomically, hashed, and copied to this machine for random access.

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

# By default etils prefers TensorFlow, but gcsfs is what is tested. The variable is read at the first path in a bucket.
if importlib.util.find_spec("gcsfs"):
    os.environ.setdefault("EPATH_USE_TF", "false")


def is_remote(path: epath.PathLike) -> bool:
    """Returns whether a path is in a bucket."""
    return "://" in os.fspath(path)


def write_atomic(path: epath.PathLike, data: bytes) -> None:
    """Writes a file so that it exists with all its bytes or not at all, even if the machine dies."""
    path = epath.Path(path)
    if is_remote(path):  # an object appears once it is complete
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
    """Returns the temporary path of a local file that is being written; `remove_partial` finds it after a crash."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def publish(finished: Path, path: epath.PathLike) -> None:
    """Renames a completely written local file to its final path, or moves it into a bucket."""
    path = epath.Path(path)
    if is_remote(path):
        epath.Path(finished).copy(path, overwrite=True)
        finished.unlink()
        return
    with finished.open("rb") as file:
        os.fsync(file.fileno())
    finished.replace(path)


def remove_partial(folder: epath.PathLike) -> None:
    """Removes the partial files that killed processes left in a folder."""
    if not is_remote(folder):
        for path in Path(folder).glob(".*.partial"):
            path.unlink(missing_ok=True)


def sha256_of(path: epath.PathLike) -> str:
    """Returns the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    for chunk in _chunks(epath.Path(path)):
        digest.update(chunk)
    return digest.hexdigest()


def local_copy(folder: epath.PathLike, sha256: dict[str, str], cache: Path) -> Path:
    """Returns a local folder with files of `folder`: itself, or for a bucket `cache`, after copying what it lacks.

    Args:
      folder: with the files.
      sha256: hash of each file needed, by name.
      cache: used for buckets; files in it are used without a check, since only verified ones get there.

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
    """Holds the lock of a local folder, within its context; the lock ends with the process.

    Waits for another holder; with `field`, raises InputError instead, naming the field.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if field else 0))
        yield
    except BlockingIOError as error:
        wrong = "is being written to by another process"
        raise InputError(wrong, field=field or "", value=folder, remedy="wait for it to end") from error
    finally:
        os.close(handle)


def require_space(folder: Path, needed: int, field: str) -> None:
    """Raises InputError unless the disk of a local folder has `needed` bytes free, and 2 % more."""
    free, wanted = shutil.disk_usage(folder).free, needed + needed // 50
    if free < wanted:
        raise InputError(
            f"has {format_bytes(free)} free, but {format_bytes(wanted)} are needed",
            field=field,
            value=str(folder),
            remedy="free some space, or choose a folder on another disk",
        )


def existing_parent(folder: Path) -> Path:
    """Returns the folder itself, or the nearest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())


def format_bytes(size: int) -> str:
    """Formats a number of bytes, such as 153.6 MB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def describe_error(error: BaseException) -> str:
    """Returns in a few words why a file could not be used; TensorStore's messages hide the system's in many others."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else str(error).strip().partition("\n")[0][:300] or type(error).__name__


def _chunks(path: epath.Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
