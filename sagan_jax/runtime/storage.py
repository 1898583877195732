"""Files on a disk or in a bucket: written whole or not at all, hashed, and copied here where random access needs it.

Paths are `etils.epath` paths, so gs:// works wherever gcsfs or TensorFlow is installed.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from sagan_jax.errors import InputError

CHUNK = 1 << 20  # bytes read at a time


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path lies in a bucket."""
    return "://" in os.fspath(path)


def write_whole(path: epath.PathLike, data: bytes) -> None:
    """Writes a file so that it is there with all its bytes or not at all, even if the machine dies."""
    path = epath.Path(path)
    if is_remote(path):  # an object appears when it is complete
        path.write_bytes(data)
        return
    partial = partial_path(Path(path))
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


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
        return Path(folder)
    cache.mkdir(parents=True, exist_ok=True)
    remove_partial(cache)
    missing = [name for name in sha256 if not (cache / name).exists()]
    require_space(cache, sum(epath.Path(folder, name).stat().length for name in missing), "data.cache_dir")
    for name in missing:
        partial, digest = partial_path(cache / name), hashlib.sha256()
        with partial.open("wb") as file:
            for chunk in _chunks(epath.Path(folder, name)):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != sha256[name]:
            partial.unlink()
            raise InputError(f"{folder}/{name} is damaged: its SHA-256 is not that of dataset.json; prepare it again.")
        publish(partial, cache / name)
    return cache


def require_space(folder: Path, needed: int, field: str) -> None:
    """Raises InputError unless the disk of a local folder has `needed` bytes free and some to spare."""
    free, wanted = shutil.disk_usage(folder).free, needed + needed // 50
    if free < wanted:
        raise InputError(
            f"{field}={folder} has {in_bytes(free)} free, but {in_bytes(wanted)} are needed:"
            " free some space, or choose a folder on another disk."
        )


def scratch_folder() -> Path:
    """A new folder for files on their way to a bucket."""
    return Path(tempfile.mkdtemp(prefix="sagan_jax-"))


def in_bytes(size: int) -> str:
    """Such as 153.6 MB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _chunks(path: epath.Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
