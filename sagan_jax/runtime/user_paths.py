"""Makes paths of what a person gives: on a disk, with ~, or in a bucket; what cannot be a path is one sentence."""

import importlib.util
import os
import socket
from pathlib import Path

from etils import epath

from sagan_jax.errors import InputError
from sagan_jax.extras import install_extra
from sagan_jax.runtime.storage import is_remote

STORAGE = ("storage.googleapis.com", 443)
ELSEWHERE = ("STORAGE_EMULATOR_HOST", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")  # not asked directly then


def user_path(given: epath.PathLike) -> epath.Path:
    """Returns the path that a person means, on a disk or in a bucket.

    Raises:
      InputError: it is of another kind, names a home folder of nobody, has control characters, or lies in a bucket that
        cannot be reached from here.
    """
    text = os.fspath(given)
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise InputError(f"the path {text!r} has a line break or another control character in it: give another one.")
    scheme, separator, _ = text.partition("://")
    if separator and scheme != "gs":
        remedy = "copy it to a disk and give that path, or use a bucket, gs://..."
        raise InputError(f"{text} is no path: {scheme}:// cannot be read here; {remedy}.")
    if separator:
        _check_reachable(text)
        return epath.Path(text)
    expanded = os.path.expanduser(text)  # unlike pathlib's, never raises
    if expanded.startswith("~"):
        first = Path(text).parts[0]
        raise InputError(f"{text}: there is no home folder {first}; give a whole path, or ./{text} for a folder here.")
    return epath.Path(expanded)


def local_path(given: epath.PathLike) -> Path:
    """Returns the path on this machine that a person means; InputError as for `user_path`, and for one in a bucket."""
    path = user_path(given)
    if is_remote(path):
        raise InputError(f"{path} is in a bucket: copy it to a disk first, and give that path.")
    return Path(path)


def _check_reachable(text: str) -> None:
    """Raises InputError where no request can succeed: a library would try for minutes, and print each failure."""
    if not (importlib.util.find_spec("gcsfs") or importlib.util.find_spec("tensorflow")):
        raise InputError(f"{text} is in a bucket, which needs gcsfs: {install_extra('gcs')}.")
    if any(os.environ.get(name) for name in ELSEWHERE):
        return
    try:
        socket.getaddrinfo(*STORAGE)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{text} cannot be reached ({STORAGE[0]}: {reason}): is there a network?") from error
