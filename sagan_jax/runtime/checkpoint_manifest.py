"""Manifests, which prove that a checkpoint is as it was written: a list of its files, written before it is renamed."""

import json
import uuid
from pathlib import PurePosixPath
from typing import TypedDict

import orbax.checkpoint as ocp
from etils import epath

from sagan_jax.errors import InputError
from sagan_jax.runtime.documents import Count, Name, read_document, require_file
from sagan_jax.runtime.storage import is_remote, sha256_of, write_atomic
from sagan_jax.runtime.timing import warn
from sagan_jax.runtime.workdir import QUARANTINE

MANIFEST = "manifest.json"  # in the folder of a checkpoint: {"files": {name: [bytes, sha256]}}
EARLIER_MANIFEST = "seal.json"  # its name in checkpoints of earlier versions


class Manifest(TypedDict):
    """What is in a manifest: the size and SHA-256 of each file; the hash is empty for files in a bucket."""

    files: dict[Name, tuple[Count, Name]]


def write_manifest(folder: epath.Path, step: int) -> None:
    """Writes the manifest of the checkpoint of a step, which still has Orbax's temporary name.

    Files in a bucket are listed with their sizes only, since buckets keep hashes themselves.
    """
    for checkpoint in folder.iterdir():
        if checkpoint.name.partition(".")[0] == str(step):
            # Files at the top of the checkpoint are left out: Orbax writes them after this.
            files = {name: _fingerprint(checkpoint / name) for name in _file_names(checkpoint) if "/" in name}
            write_atomic(checkpoint / MANIFEST, json.dumps({"files": files}).encode())


def verify(checkpoint: epath.Path) -> str | None:
    """Reads a whole finished checkpoint and returns what is damaged in it, or None."""
    try:
        files = read_document(_manifest_of(checkpoint), Manifest, "restore it")["files"]
    except OSError:
        return f"{MANIFEST} is missing"
    except InputError:
        return f"{MANIFEST} is not readable"
    for name, (size, digest) in files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            return f"{MANIFEST} names {name}, which is not in it"
        file = checkpoint / name
        if not file.exists():
            return f"{name} is missing"
        if not _is_file(file):
            return f"{name} is no file"
        if file.stat().length != size:
            return f"{name} has {file.stat().length} bytes in place of {size}"
        if digest and not is_remote(file) and sha256_of(file) != digest:
            return f"{name} has changed"
    return None


def _is_file(file: epath.Path) -> bool:
    try:
        require_file(file)
    except InputError:
        return False
    return True


def _manifest_of(checkpoint: epath.Path) -> epath.Path:
    earlier = checkpoint / EARLIER_MANIFEST
    return earlier if earlier.exists() else checkpoint / MANIFEST


def find_damaged(folder: epath.Path) -> tuple[dict[int, str], int | None]:
    """Returns the damage of each checkpoint that is newer than the newest intact one, and the step of the latter."""
    damaged: dict[int, str] = {}
    for step in sorted(finished_steps(folder), reverse=True):
        reason = verify(folder / str(step))
        if reason is None:
            return damaged, step
        damaged[step] = reason
    return damaged, None


def finished_steps(folder: epath.Path) -> list[int]:
    """Returns the steps of the finished checkpoints in a folder, in any order."""
    found = [path for path in folder.iterdir() if path.name.isdecimal()] if folder.exists() else []
    # In a bucket an unfinished one has its final name already.
    return [int(path.name) for path in found if ocp.utils.is_checkpoint_finalized(path)]


def quarantine(folder: epath.Path, damaged: dict[int, str]) -> None:
    """Moves damaged checkpoints into the folder `QUARANTINE` beside their own, with a warning for each."""
    for step, reason in damaged.items():
        target = folder.parent / QUARANTINE / f"{folder.name}-{step}-{uuid.uuid4().hex[:4]}"
        _move(folder / str(step), target)
        warn(f"the checkpoint of step {step:,} is damaged ({reason}): it is now {target}, and an older one is used")


def _move(folder: epath.Path, target: epath.Path) -> None:
    if is_remote(folder):  # where single objects can be moved, but no folders
        for name in _file_names(folder):
            (folder / name).copy(target / name)
        folder.rmtree()
    else:
        target.parent.mkdir(exist_ok=True)
        folder.rename(target)


def _file_names(folder: epath.Path, prefix: str = "") -> list[str]:
    names: list[str] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        names += _file_names(path, f"{prefix}{path.name}/") if path.is_dir() else [prefix + path.name]
    return names


def _fingerprint(file: epath.Path) -> list[int | str]:
    return [file.stat().length, "" if is_remote(file) else sha256_of(file)]
