"""Sets fields of a config by arguments such as "--config.train.steps=10"."""

import ast
import difflib
from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import ConfigDict

from sagan_jax.config import flat_fields
from sagan_jax.errors import InputError
from sagan_jax.renamed import CONFIG_FIELDS

FIELD, OFF = "--config.", "--noconfig."  # begin the flags that set fields; the latter sets one to False
LONGEST = 4096  # letters of a value
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def set_fields(config: ConfigDict, arguments: list[str]) -> None:
    """Sets what arguments such as "--config.train.steps=10" say, and locks the config.

    Raises:
      InputError: there is no such field, the value has the wrong type, or an argument is of another kind.
    """
    known = flat_fields(config)
    for field, text in _assignments(arguments, known):
        if len(text) > LONGEST:
            raise InputError(f"has {len(text):,} letters", field=FIELD + field, remedy="shorten it")
        try:
            value = PARSERS[type(known[field])](text)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            wanted = WANTED[type(known[field])]
            raise InputError("cannot be used", field=FIELD + field, value=text, remedy=f"give {wanted}") from error
        config.update_from_flattened_dict({field: value})
    config.lock()


def _assignments(arguments: list[str], known: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields fields and the texts of their values."""
    waiting = list(arguments)
    while waiting:
        flag, equals, text = waiting.pop(0).partition("=")
        if not flag.startswith("-"):
            raise InputError(f"{flag!r} is not a flag: write --config=NAME, --workdir=PATH or {FIELD}FIELD=VALUE.")
        field = flag.removeprefix(FIELD).removeprefix(OFF)
        if field == flag or field not in known:
            raise _unknown(flag, field, known)
        is_switch = isinstance(known[field], bool)
        if flag.startswith(OFF):
            if not is_switch or equals:
                raise InputError("is unknown", field=flag, remedy=f"write {FIELD}{field}=VALUE")
            text = "false"
        elif not equals:
            if is_switch:
                text = "true"
            elif waiting and not waiting[0].startswith("--"):
                text = waiting.pop(0)
            else:
                raise InputError("has no value", field=flag, remedy=f"write {flag}={WANTED[type(known[field])]}")
        yield field, text


def _unknown(flag: str, field: str, known: dict[str, Any]) -> InputError:
    """Returns the error about a flag that sets no field."""
    if field in CONFIG_FIELDS:
        return InputError("has another name", field=flag, remedy=f"write {FIELD}{CONFIG_FIELDS[field]}")
    inside = [name for name in known if name.startswith(f"{field}.")]
    if inside and flag.startswith(FIELD):
        return InputError(
            "is a group of fields", field=flag, remedy=f"set one of them, such as {FIELD}{inside[0]}=VALUE"
        )
    if field == flag:
        near = difflib.get_close_matches(flag, ("--config", "--workdir", "--verbosity"), n=1, cutoff=0.6)
        return InputError("is unknown", field=flag, remedy=f"did you mean {near[0]}?" if near else "see --help")
    near = difflib.get_close_matches(field, known, n=1, cutoff=0.4)
    hint = f"did you mean {FIELD}{near[0]}?" if near else "sagan_jax/config.py lists all fields"
    return InputError("is unknown", field=flag, remedy=hint)


def _boolean(text: str) -> bool:
    if text.lower() not in BOOLEANS:
        raise ValueError(text)
    return BOOLEANS[text.lower()]


def _whole_numbers(text: str) -> tuple[int, ...]:
    """Parses "8,16", "8", "(8, 16)", "[8]" or "()"."""
    value = ast.literal_eval(text.strip())
    numbers = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not all(type(number) is int for number in numbers):
        raise ValueError(text)
    return numbers


PARSERS: dict[type, Callable[[str], Any]] = {
    bool: _boolean, int: int, float: float, str: str, tuple: _whole_numbers
}  # fmt: skip
WANTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "whole numbers with commas, such as 8,16, or () for none",
}
