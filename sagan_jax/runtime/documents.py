"""Reads JSON that anybody may have written: kind and size of a file are looked at first, and schemas say what it holds.

A schema is a type that msgspec knows: a dataclass, or dicts, lists and tuples of types. The text is parsed by Python's
own json, since names of files need not be valid text, and msgspec's parser refuses those.
"""

import json
import math
import stat
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from etils import epath

from sagan_jax.errors import InputError
from sagan_jax.renamed import with_new_names
from sagan_jax.runtime.storage import format_bytes, is_remote

MOST_BYTES = 64 << 20  # of a document, unless something else is said
Name = Annotated[str, msgspec.Meta(max_length=1000)]  # of a class, a run, a data set
Text = Annotated[str, msgspec.Meta(max_length=100_000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

T = TypeVar("T")


def read_document(file: epath.PathLike, kind: type[T], remedy: str, most: int = MOST_BYTES) -> T:
    """Reads a JSON file.

    Args:
      file: on a disk or in a bucket.
      kind: what it must hold.
      remedy: what to do if it is damaged, such as "restore it".
      most: bytes that it may have.

    Raises:
      FileNotFoundError: there is no such file.
      InputError: it is no file, too large, no JSON, or holds something else.
    """
    return parse_document(read_bytes(file, most), kind, file, remedy)


def parse_document(content: bytes, kind: type[T], where: Any, remedy: str) -> T:
    """Parses JSON as for `read_document`; `where` is what it is called in messages."""
    try:
        parsed = json.loads(content, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise _damaged(where, error, remedy) from error
    return with_kind(parsed, kind, where, remedy)


def parse_earlier(content: bytes, where: Any, remedy: str) -> dict[str, Any]:
    """Parses a JSON object that an earlier version may have written, under its names of today."""
    parsed = parse_document(content, dict[str, Any], where, remedy)
    try:
        return with_new_names(parsed)
    except RecursionError as error:
        raise _damaged(where, error, remedy) from error


def with_kind(content: Any, kind: type[T], where: Any, remedy: str) -> T:
    """Returns parsed JSON as what it must hold; arguments as for `parse_document`."""
    try:
        return msgspec.convert(content, kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _damaged(where, error, remedy) from error


def read_earlier(file: epath.PathLike, kind: type[T], remedy: str) -> T:
    """Reads a JSON file that an earlier version may have written; as `read_document`."""
    return with_kind(parse_earlier(read_bytes(file), file, remedy), kind, file, remedy)


def read_bytes(file: epath.PathLike, most: int = MOST_BYTES) -> bytes:
    """Reads a whole file; raises FileNotFoundError where there is none, InputError if it is no file or too large."""
    path = epath.Path(file)
    require_file(path)
    if path.stat().length > most:
        raise InputError(_too_large(path, most))
    if is_remote(path):
        return path.read_bytes()
    with Path(path).open("rb") as opened:
        content = opened.read(most + 1)  # some files say that they are empty, and are not
    if len(content) > most:
        raise InputError(_too_large(path, most))
    return content


def require_file(file: epath.PathLike) -> None:
    """Raises InputError for a folder, a device or a pipe in place of a file: reading it would fail, or never end."""
    path = epath.Path(file)
    if is_remote(path):
        return
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise InputError(f"{file} is {what}, where a file was expected: remove it, or give another path.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def _too_large(file: Any, most: int) -> str:
    return f"{file} is too large for what it should be: more than {format_bytes(most)}; restore it."


def _damaged(where: Any, error: Exception, remedy: str) -> InputError:
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition("\n")[0][:300]
    return InputError(f"{where} is damaged ({reason}): {remedy}.")
