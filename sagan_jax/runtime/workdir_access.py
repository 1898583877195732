"""Opens the folder of a run: created, writable, the same for all processes, and locked against other runs."""

import contextlib
import platform
import uuid
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from sagan_jax.errors import InputError
from sagan_jax.runtime.lock import workdir_lock
from sagan_jax.runtime.processes import is_host0
from sagan_jax.runtime.storage import is_remote
from sagan_jax.runtime.user_paths import user_path
from sagan_jax.runtime.workdir import LOCK_FILE


@contextlib.contextmanager
def open_workdir(path: epath.PathLike) -> Iterator[epath.Path]:
    """Creates the folder if needed, checks that all processes share it, and keeps other runs out, within its context.

    Where the context raises InputError before anything is in the folder, what was created is removed again.

    Raises:
      InputError: the folder cannot be used.
    """
    workdir = user_path(path)
    with contextlib.ExitStack() as opened:
        if is_host0():
            local = Path(workdir)
            created = [] if is_remote(workdir) else [f for f in (local, *local.parents) if not f.exists()]
            _check_writable(workdir, path)
            opened.enter_context(workdir_lock(workdir))
            opened.enter_context(_removed_if_refused(created))
        _check_shared(workdir)
        yield workdir


@contextlib.contextmanager
def _removed_if_refused(created: list[Path]) -> Iterator[None]:
    """Removes folders, the innermost first, where its context raises InputError and only the lock is in them."""
    try:
        yield
    except InputError:
        inside = list(created[0].rglob("*")) if created else []
        if all(path.name == LOCK_FILE or path.is_dir() for path in inside):
            with contextlib.suppress(OSError):  # another run may have begun beside this one
                for file in filter(Path.is_file, inside):
                    file.unlink()
                for folder in [*sorted(filter(Path.is_dir, inside), reverse=True), *created]:
                    folder.rmdir()
        raise


def _check_writable(workdir: epath.Path, path: epath.PathLike) -> None:
    probe = workdir / f".probe-{uuid.uuid4().hex}"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except Exception as error:  # buckets raise kinds of their own
        if not isinstance(error, OSError) and not is_remote(workdir):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot be written to ({reason})",
            field="--workdir",
            value=path,
            remedy="choose another with --workdir=PATH",
        ) from error


def _check_shared(workdir: epath.Path) -> None:
    """Raises InputError in processes to which the path is another folder than to the first."""
    if jax.process_count() == 1:
        return
    token = int(multihost_utils.broadcast_one_to_all(np.int32(uuid.uuid4().int & 0x7FFFFFFF)))
    file = workdir / f".seen-{token}"
    if is_host0():
        file.touch()
    multihost_utils.sync_global_devices("the workdir is marked")
    if not file.exists():
        raise InputError(
            f"is another folder for process {jax.process_index()} on {platform.node()} than for the first one",
            field="--workdir",
            value=workdir,
            remedy="give a folder on a file system that all of them share",
        )
    multihost_utils.sync_global_devices("all have seen the mark")
    if is_host0():
        file.unlink()
