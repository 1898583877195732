"""Settings of a run as JSON in its folder: saved, and compared when the run is continued."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from etils import epath
from flax.traverse_util import flatten_dict

from sagan_jax.errors import InputError
from sagan_jax.runtime.documents import Count, Name, read_earlier
from sagan_jax.runtime.processes import is_host0
from sagan_jax.runtime.storage import write_atomic

Field = Annotated[str, msgspec.Meta(max_length=100)]
Value = None | bool | int | float | Annotated[str, msgspec.Meta(max_length=4096)]
# Nested as deep as a config may be: config.json and data.json.
Settings = dict[Field, Value | list[Value] | dict[Field, Value | list[Value] | dict[Field, Value | list[Value]]]]
SHOWN = 100  # characters of a value in a message


@dataclasses.dataclass(frozen=True)
class DataFacts:
    """What identifies the data of a run."""

    class_names: tuple[Name, ...]
    name: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    num_images: Count = 0


@dataclasses.dataclass(frozen=True)
class SavedData:
    """What data.json holds; the frequencies of the classes are those of generated labels, or empty."""

    data: DataFacts
    class_frequencies: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.class_frequencies and len(self.class_frequencies) != len(self.data.class_names):
            raise ValueError(f"{len(self.class_frequencies)} frequencies of {len(self.data.class_names)} classes")
        if self.class_frequencies and not are_frequencies(self.class_frequencies):
            raise ValueError("class_frequencies do not add up to 1")


def are_frequencies(numbers: Sequence[float]) -> bool:
    """Returns whether these are fractions of a whole."""
    return all(0 <= number <= 1 for number in numbers) and abs(sum(numbers) - 1) < 1e-3


def read_settings(file: epath.Path, remedy: str = "restore it") -> dict[str, Any]:
    """Reads the settings of a run, under their names of today.

    Raises:
      FileNotFoundError: there is no such file.
      InputError: it is damaged.
    """
    return read_earlier(file, Settings, remedy)


def read_data(file: epath.Path) -> SavedData:
    """Reads what a run keeps of its data; errors as for `read_settings`."""
    return read_earlier(file, SavedData, "restore it")


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
    old = _flat(defaults) | _flat(read_settings(file, "restore it, or start afresh with another --workdir"))
    new = _flat(settings)
    for field in sorted(old.keys() | new.keys()):
        was, now = old.get(field), new.get(field)
        if was != now and not any(field == group or field.startswith(f"{group}.") for group in free):
            raise InputError(
                f", but the run in {workdir} was started with {_shown(was)}",
                field=field,
                value=now,
                remedy="set it back to continue that run, or start a new one with another --workdir",
            )


def save_settings(workdir: epath.Path, name: str, settings: dict[str, Any]) -> None:
    """Writes the JSON file `name`, whole or not at all; in the first process."""
    if is_host0():
        write_atomic(workdir / name, (json.dumps(settings, indent=2) + "\n").encode())


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields by their dotted names, as they are after a way through JSON."""
    return flatten_dict(json.loads(json.dumps(settings)), sep=".")
