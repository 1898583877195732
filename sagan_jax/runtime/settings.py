"""Settings of a run as JSON in its folder: saved, and compared when the run is continued."""

import json
from typing import Any

from etils import epath
from flax.traverse_util import flatten_dict

from sagan_jax.errors import InputError
from sagan_jax.renamed import with_new_names
from sagan_jax.runtime.processes import is_host0
from sagan_jax.runtime.storage import write_atomic


def check_settings(
    workdir: epath.Path, name: str, settings: dict[str, Any], free: tuple[str, ...], defaults: dict[str, Any]
) -> None:
    """Compares `settings` with those that an earlier run in the folder saved under `name`.

    Args:
      workdir: from `open_workdir`.
      name: of the JSON file, such as "config.json".
      settings: nested dict of JSON values.
      free: dotted names of fields, or of groups of fields, that may differ.
      defaults: nested dict of the values that fields have which an earlier version did not know.

    Raises:
      InputError: another field differs, or the file is damaged.
    """
    file = workdir / name
    if not file.exists():
        return
    try:
        old = json.loads(file.read_text())
        if not isinstance(old, dict):
            raise ValueError("no JSON object")
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error}): restore it, or start afresh with another --workdir.") from error
    old = _flat(defaults) | _flat(with_new_names(old))
    new = _flat(settings)
    for field in sorted(old.keys() | new.keys()):
        was, now = old.get(field), new.get(field)
        if was != now and not any(field == group or field.startswith(f"{group}.") for group in free):
            raise InputError(
                f", but the run in {workdir} was started with {was!r}",
                field=field,
                value=now,
                remedy="set it back to continue that run, or start a new one with another --workdir",
            )


def save_settings(workdir: epath.Path, name: str, settings: dict[str, Any]) -> None:
    """Writes the JSON file `name`, whole or not at all; in the first process."""
    if is_host0():
        write_atomic(workdir / name, (json.dumps(settings, indent=2) + "\n").encode())


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields by their dotted names, as they are after a way through JSON."""
    return flatten_dict(json.loads(json.dumps(settings)), sep=".")
