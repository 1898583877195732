"""The folder of one run: made, checked to be writable, and guarded against another run's settings."""

import contextlib
import json
import platform
import uuid
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from sagan_jax.errors import InputError
from sagan_jax.renamed import with_new_names
from sagan_jax.runtime.lock import workdir_lock
from sagan_jax.runtime.processes import is_host0
from sagan_jax.runtime.storage import is_remote, write_atomic


@contextlib.contextmanager
def open_workdir(path: str) -> Iterator[epath.Path]:
    """Makes the folder if needed, proves that all processes can write to it, and keeps other runs out of it.

    Raises:
      InputError: it cannot be used.
    """
    workdir = epath.Path(path).expanduser()
    with contextlib.ExitStack() as opened:
        if is_host0():
            _check_writable(workdir, path)
            opened.enter_context(workdir_lock(workdir))
        _check_shared(workdir)
        yield workdir


def _check_writable(workdir: epath.Path, path: str) -> None:
    probe = workdir / f".probe-{uuid.uuid4().hex}"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except Exception as error:  # a bucket has its own kinds
        if not isinstance(error, OSError) and not is_remote(workdir):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"--workdir={path} cannot be written to ({reason}): choose another with --workdir=PATH."
        ) from error


def _check_shared(workdir: epath.Path) -> None:
    """Raises InputError in processes that do not see the folder of the first one."""
    if jax.process_count() == 1:
        return
    token = int(multihost_utils.broadcast_one_to_all(np.int32(uuid.uuid4().int & 0x7FFFFFFF)))
    file = workdir / f".seen-{token}"
    if is_host0():
        file.touch()
    multihost_utils.sync_global_devices("the workdir is marked")
    if not file.exists():
        raise InputError(
            f"--workdir={workdir} is another folder for process {jax.process_index()} on {platform.node()} than for"
            " the first one: give a folder on a file system that all of them share."
        )
    multihost_utils.sync_global_devices("all have seen the mark")
    if is_host0():
        file.unlink()


def check_settings(workdir: epath.Path, name: str, settings: dict[str, Any], free: tuple[str, ...]) -> None:
    """Compares `settings` with those that an earlier run in the folder saved under `name`.

    Args:
      workdir: from `open_workdir`.
      name: of the JSON file, such as "config.json".
      settings: nested dict of JSON values.
      free: dotted names of fields, or of groups of fields, that may differ.

    Raises:
      InputError: another field differs, or the file is damaged.
    """
    file, new = workdir / name, json.loads(json.dumps(settings))
    if not file.exists():
        return
    try:
        old = with_new_names(json.loads(file.read_text()))
    except json.JSONDecodeError as error:
        raise InputError(f"{file} is damaged ({error}): restore it, or start afresh with another --workdir.") from error
    for field, was, now in _differences(old, new):
        if not any(field == name or field.startswith(f"{name}.") for name in free):
            raise InputError(
                f"{field} = {now!r}, but the run in {workdir} was started with {was!r}:"
                " set it back to continue that run, or start a new one with another --workdir."
            )


def save_settings(workdir: epath.Path, name: str, settings: dict[str, Any]) -> None:
    """Writes the JSON file `name`, whole or not at all; in the first process."""
    if is_host0():
        write_atomic(workdir / name, (json.dumps(settings, indent=2) + "\n").encode())


def _differences(old: Any, new: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted field, old value, new value) wherever two nested dicts differ; a missing field counts as None."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [(prefix, old, new)]
    found = []
    for name in sorted(old.keys() | new.keys()):
        found += _differences(old.get(name), new.get(name), f"{prefix}.{name}" if prefix else name)
    return found
