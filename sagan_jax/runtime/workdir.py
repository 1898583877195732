"""The folder of one run: made, checked to be writable, and guarded against another run's settings."""

import json
import uuid
from pathlib import Path
from typing import Any

from sagan_jax.errors import InputError
from sagan_jax.runtime.storage import write_whole


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


def check_settings(workdir: Path, name: str, settings: dict[str, Any], free: tuple[str, ...]) -> None:
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
        old = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise InputError(f"{file} is damaged ({error}): restore it, or start afresh with another --workdir.") from error
    for field, was, now in _differences(old, new):
        if not any(field == name or field.startswith(f"{name}.") for name in free):
            raise InputError(
                f"{field} = {now!r}, but the run in {workdir} was started with {was!r}:"
                " set it back to continue that run, or start a new one with another --workdir."
            )


def save_settings(workdir: Path, name: str, settings: dict[str, Any]) -> None:
    """Writes the JSON file `name`, whole or not at all."""
    write_whole(workdir / name, (json.dumps(settings, indent=2) + "\n").encode())


def _differences(old: Any, new: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted field, old value, new value) wherever two nested dicts differ; a missing field counts as None."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [(prefix, old, new)]
    found = []
    for name in sorted(old.keys() | new.keys()):
        found += _differences(old.get(name), new.get(name), f"{prefix}.{name}" if prefix else name)
    return found
