"""Reads the tensors of a file that torch.save wrote, without torch and without running anything in it.

Such files are pickles, and a pickle may name any function to be called. This reader accepts the few names that a
dictionary of tensors needs, and refuses a file with any other.
"""

import collections
import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first value of files from before torch 1.6
DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class TorchFileError(ValueError):
    """The file is damaged, has no tensors, or names functions that tensors do not need."""


class _StorageType(NamedTuple):
    dtype: np.dtype


class _Storage(NamedTuple):
    """The numbers of tensors, which are stored outside the pickle; the pickle has their dtype and number."""

    key: str
    dtype: np.dtype
    length: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.length * self.dtype.itemsize


class _Tensor(NamedTuple):
    """A tensor as a view of its storage; offset and strides in numbers, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a saved state dict by name, in the file's dtypes.

    Raises:
      TorchFileError: the file is damaged, or has more than tensors.
    """
    try:
        tensors, storages = (_read_zip if zipfile.is_zipfile(path) else _read_legacy)(path)
        return {name: _array(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}
    except (TorchFileError, OSError):
        raise
    except Exception as error:  # unpickling damaged bytes may raise anything
        raise TorchFileError(f"damaged, or no file of torch.save ({type(error).__name__}: {error})") from error


def _read_zip(path: Path) -> tuple[dict[str, _Tensor], dict[str, bytes]]:
    """Reads the format of torch 1.6 and later: FOLDER/data.pkl, and each storage in FOLDER/data/KEY."""
    with zipfile.ZipFile(path) as archive:
        pickled = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickled) != 1:
            raise TorchFileError("a zip archive without data.pkl")
        folder = pickled[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise TorchFileError("written on a big-endian machine")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise TorchFileError("it is compressed, which torch.save does not do and may grow without end")
        tensors = _tensors_of(_TensorUnpickler(io.BytesIO(archive.read(pickled[0]))).load())
        storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
        for key, storage in storages.items():
            _check_size(storage, archive.getinfo(f"{folder}data/{key}").file_size)
        return tensors, {key: archive.read(f"{folder}data/{key}") for key in storages}


def _read_legacy(path: Path) -> tuple[dict[str, _Tensor], dict[str, bytes]]:
    """Reads the older format: four pickles and a list of keys, then each storage as its length and its numbers."""
    with path.open("rb") as file:
        if _TensorUnpickler(file).load() != LEGACY_MAGIC:
            raise TorchFileError("no file of torch.save")
        _TensorUnpickler(file).load()  # version of the format
        if not _TensorUnpickler(file).load().get("little_endian", True):
            raise TorchFileError("written on a big-endian machine")
        unpickler = _TensorUnpickler(file)
        tensors = _tensors_of(unpickler.load())
        storages = {}
        for key in _TensorUnpickler(file).load():
            (length,) = struct.unpack("<q", file.read(8))
            storage = unpickler.storages[key]
            _check_size(storage, length * storage.dtype.itemsize)
            storages[key] = file.read(length * storage.dtype.itemsize)
        return tensors, storages


def _check_size(storage: _Storage, size: int) -> None:
    if not 0 <= size <= storage.size:
        raise TorchFileError(f"storage {storage.key} has {size:,} bytes, but {storage.size:,} are declared")


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles dictionaries of tensors, as `_Tensor`s, and nothing else.

    Attributes:
      storages: those that the pickle has declared so far, by key.
    """

    def __init__(self, file: Any):
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for a function or class that the pickle names; raises TorchFileError for unknown ones."""
        if module == "torch" and name in DTYPES:
            return _StorageType(np.dtype(DTYPES[name]))

        # New ones each time: a pickle may set attributes of what it names, such as the defaults of a function.
        def rebuilt_tensor(
            storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
        ) -> _Tensor:
            return _Tensor(storage, offset, tuple(shape), tuple(strides))

        def rebuilt_parameter(tensor: _Tensor, *_: Any) -> _Tensor:
            return tensor

        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): rebuilt_tensor,
            ("torch._utils", "_rebuild_parameter"): rebuilt_parameter,
        }
        if (module, name) not in allowed:
            raise TorchFileError(f"it asks for {module}.{name}, which tensors do not need: do not trust this file")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns a storage, from the type, key and length in the pickle."""
        kind, storage_type, key, _, length, *_ = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise TorchFileError(f"it refers to {kind!r} outside the file")
        storage = _Storage(str(key), storage_type.dtype, int(length))
        if self.storages.setdefault(storage.key, storage) != storage:
            raise TorchFileError(f"it declares storage {key} in two ways")
        return storage


def _tensors_of(value: Any) -> dict[str, _Tensor]:
    """Returns the tensors of a state dict, or of the one in a checkpoint's "state_dict"."""
    if isinstance(value, dict) and isinstance(value.get("state_dict"), dict):
        value = value["state_dict"]
    if not isinstance(value, dict):
        raise TorchFileError("it holds no dictionary of tensors")
    tensors = {str(name): tensor for name, tensor in value.items() if isinstance(tensor, _Tensor)}
    if not tensors:
        raise TorchFileError("its dictionary holds no tensors")
    return tensors


def _array(tensor: _Tensor, storage: bytes) -> np.ndarray:
    dtype = tensor.storage.dtype
    numbers = np.frombuffer(storage, dtype)[tensor.offset :]
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    size = math.prod(tensor.shape)
    if min((*tensor.shape, *tensor.strides, tensor.offset, 1)) < 0 or (size and last >= len(numbers)):
        raise TorchFileError("a tensor reaches beyond its numbers: the file is cut short")
    if size > len(numbers):
        raise TorchFileError(f"a tensor of shape {tensor.shape} repeats its {len(numbers):,} numbers")
    strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
    return np.lib.stride_tricks.as_strided(numbers, tensor.shape, strides, writeable=False).copy()
