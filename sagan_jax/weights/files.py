"""Reads files of weights: .npz, .safetensors, those of torch.save, and TensorFlow checkpoints."""

import os
import stat
import zipfile
from pathlib import Path
from typing import NoReturn

import ml_dtypes
import numpy as np

from sagan_jax.errors import InputError
from sagan_jax.extras import install_extra
from sagan_jax.weights.torch_files import TorchFileError, read_torch_file

INDEX = ".index"  # of a TensorFlow checkpoint, which is named without it
KINDS = "an .npz, a .safetensors, or what torch.save wrote (.pth, .pt, .th, .bin, .tar, .ckpt, .pkl)"
PICKLE = b"\x80"
MOST_GROWTH, ALWAYS_ALLOWED = 100, 1 << 30  # of compressed arrays: times their size in the file, or bytes


class Weights(dict[str, np.ndarray]):
    """The arrays of a file by name.

    Args:
      arrays: by name.
      path: of the file, for messages.
      unread: by name, why something beside the arrays cannot be read; asking for it raises InputError.
    """

    def __init__(self, arrays: dict[str, np.ndarray], path: Path, unread: dict[str, str]):
        super().__init__(arrays)
        self._path, self._unread = path, unread

    def __missing__(self, name: str) -> NoReturn:
        if name in self._unread:
            raise InputError(f"{name} in the weights {self._path} {self._unread[name]}.")
        raise KeyError(name)

    def add(self, others: "Weights", prefix: str) -> None:
        """Adds the arrays of another file, with a prefix before their names."""
        self.update({prefix + name: value for name, value in others.items()})
        self._unread |= {prefix + name: reason for name, reason in others._unread.items()}


def read_weights(path: Path) -> Weights:
    """Returns all arrays of a file by name, bfloat16 as float32; nothing in the file is executed.

    The kind of a file is seen in its first bytes, not in its name.

    Raises:
      InputError: there is no such file, its kind is unknown, or it is damaged.
    """
    arrays, unread = _read(path)
    for name, value in list(arrays.items()):
        if value.dtype == ml_dtypes.bfloat16:
            arrays[name] = value.astype(np.float32)
        elif value.dtype.kind not in "fiub":
            unread[name] = f"is {value.dtype}, no numbers: get them again"
            del arrays[name]
    if not arrays:
        reason = next((f"{name} {why}" for name, why in unread.items()), "it is empty")
        raise InputError(f"the weights {path} hold no arrays of numbers: {reason}.")
    return Weights(arrays, path, unread)


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        if path.suffix == INDEX or (not path.exists() and path.with_name(path.name + INDEX).exists()):
            return _read_tensorflow_checkpoint(str(path).removesuffix(INDEX)), {}
        begin = _first_bytes(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                torch = any(name.endswith("data.pkl") for name in archive.namelist())
            return read_torch_file(path) if torch else _read_npz(path)
        if begin.startswith(PICKLE):
            return read_torch_file(path)
        if path.suffix == ".safetensors" or begin[8:9] == b"{":
            from safetensors.numpy import load_file

            return load_file(path), {}
        if path.suffix == ".npz":
            raise InputError(f"the weights {path} are damaged (no zip archive): get them again.")
    except InputError:
        raise
    except TorchFileError as error:
        raise InputError(f"the weights {path} are refused: {error}.") from error
    except FileNotFoundError as error:
        raise InputError(f"there is no file of weights {path}: give the path of one.") from error
    except Exception as error:  # zipfile, zlib, numpy and safetensors have each errors of their own
        raise InputError(f"the weights {path} are damaged ({error}): get them again.") from error
    raise InputError(f"the weights {path} are of unknown kind: give {KINDS}.")


def _first_bytes(path: Path) -> bytes:
    """Returns the first bytes of a file. Raises InputError for a folder, a device or a pipe, which may never end."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise InputError(f"{path} is no file: give {KINDS}.")
    with path.open("rb") as file:
        return file.read(64)


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > max(ALWAYS_ALLOWED, MOST_GROWTH * path.stat().st_size):
        raise InputError(f"the weights {path} would grow to {size / 1e6:,.0f} MB: no weights are stored like that.")
    arrays, unread = {}, {}
    with np.load(path, allow_pickle=False) as stored:
        for name in stored:
            try:
                arrays[name] = stored[name]
            except ValueError as error:  # of pickled objects, and of shapes that do not fit
                unread[name] = f"is damaged ({error}): get them again"
    return arrays, unread


def _read_tensorflow_checkpoint(prefix: str) -> dict[str, np.ndarray]:
    try:
        import tensorflow as tf
    except ImportError as error:
        raise InputError(
            f"{prefix} is a TensorFlow checkpoint: {install_extra('tfds')}, or bring its variables into an .npz with"
            " the same names."
        ) from error
    reader = tf.train.load_checkpoint(prefix)
    return {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
