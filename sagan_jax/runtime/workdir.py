"""The folder of one run: made, checked to be writable, and guarded against another run's settings."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sagan_jax.errors import InputError


def open_workdir(path: str) -> Path:
    """Makes the folder if needed and proves that it can be written to.

    Raises:
      InputError: it cannot.
    """
    workdir = Path(path).expanduser()
    probe = workdir / f".probe-{uuid.uuid4().hex}"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"--workdir={path} cannot be written to ({error.strerror}): choose another with --workdir=PATH."
        ) from error
    return workdir


def claim(workdir: Path, name: str, settings: dict[str, Any], may_differ: Callable[[str], bool]) -> None:
    """Writes `settings` to the file `name`, after comparing them with those of an earlier run there.

    Args:
      workdir: from `open_workdir`.
      name: of the JSON file, such as "config.json".
      settings: nested dict of JSON values.
      may_differ: whether the field of this dotted name may change between runs.

    Raises:
      InputError: a field that may not differ does; the file is left as it was.
    """
    file, new = workdir / name, json.loads(json.dumps(settings))
    if file.exists():
        try:
            old = json.loads(file.read_text())
        except json.JSONDecodeError as error:
            raise InputError(
                f"{file} is damaged ({error}): restore it, or start afresh with another --workdir."
            ) from error
        for field, was, now in _differences(old, new):
            if not may_differ(field):
                raise InputError(
                    f"{field} = {now!r}, but the run in {workdir} was started with {was!r}:"
                    " set it back to continue that run, or start a new one with another --workdir."
                )
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(new, indent=2) + "\n")
    partial.replace(file)


def _differences(old: Any, new: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted field, old value, new value) wherever two nested dicts differ; a missing field counts as None."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [(prefix, old, new)]
    found = []
    for name in sorted(old.keys() | new.keys()):
        found += _differences(old.get(name), new.get(name), f"{prefix}.{name}" if prefix else name)
    return found
