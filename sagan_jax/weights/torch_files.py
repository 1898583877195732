"""Reads the tensors of a file that torch.save wrote, without torch and without running anything in it.

Such files are pickles, and a pickle may name any function or class. This reader knows the few that tensors need. Any
other is answered by a stub that runs nothing: a score or a date beside the weights costs nothing, and a tensor that is
made of a stub is refused by name.
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
    """The file is damaged, or has no tensors that can be read."""


class TorchContents(NamedTuple):
    """What a file holds.

    Attributes:
      tensors: by name, in the file's dtypes; those of nested dictionaries are named "outer.inner".
      unread: by name, why what stands beside the tensors cannot be read.
    """

    tensors: dict[str, np.ndarray]
    unread: dict[str, str]


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


def read_torch_file(path: Path) -> TorchContents:
    """Reads a saved state dict: the file's "state_dict", or the dictionary in it, or the dictionaries in that.

    Raises:
      TorchFileError: the file is damaged, or has no tensors.
    """
    try:
        found, storages = (_read_zip if zipfile.is_zipfile(path) else _read_legacy)(path)
        tensors = {name: _array(tensor, storages[tensor.storage.key]) for name, tensor in found.tensors.items()}
        return TorchContents(tensors, found.unread)
    except (TorchFileError, OSError):
        raise
    except Exception as error:  # unpickling damaged bytes may raise anything
        raise TorchFileError(f"damaged, or no file of torch.save ({type(error).__name__}: {error})") from error


class _Found(NamedTuple):
    """As `TorchContents`, with tensors whose numbers are yet to be read."""

    tensors: dict[str, _Tensor]
    unread: dict[str, str]


def _read_zip(path: Path) -> tuple[_Found, dict[str, bytes]]:
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
        found = _tensors_of(_TensorUnpickler(io.BytesIO(archive.read(pickled[0]))).load())
        storages = {tensor.storage.key: tensor.storage for tensor in found.tensors.values()}
        for key, storage in storages.items():
            _check_size(storage, archive.getinfo(f"{folder}data/{key}").file_size)
        return found, {key: archive.read(f"{folder}data/{key}") for key in storages}


def _read_legacy(path: Path) -> tuple[_Found, dict[str, bytes]]:
    """Reads the older format: four pickles and a list of keys, then each storage as its length and its numbers."""
    with path.open("rb") as file:
        if _TensorUnpickler(file).load() != LEGACY_MAGIC:
            raise TorchFileError("a pickle, but none of torch.save")
        _TensorUnpickler(file).load()  # version of the format
        if not _TensorUnpickler(file).load().get("little_endian", True):
            raise TorchFileError("written on a big-endian machine")
        unpickler = _TensorUnpickler(file)
        found = _tensors_of(unpickler.load())
        storages = {}
        for key in _TensorUnpickler(file).load():
            (length,) = struct.unpack("<q", file.read(8))
            storage = unpickler.storages.get(key)
            if storage is None:
                raise TorchFileError(f"storage {key} is of a kind that is not known")
            _check_size(storage, length * storage.dtype.itemsize)
            storages[key] = file.read(length * storage.dtype.itemsize)
        return found, storages


def _check_size(storage: _Storage, size: int) -> None:
    if not 0 <= size <= storage.size:
        raise TorchFileError(f"storage {storage.key} has {size:,} bytes, but {storage.size:,} are declared")


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles dictionaries of tensors, as `_Tensor`s, with stubs for everything else.

    Attributes:
      storages: those that the pickle has declared so far, by key.
    """

    def __init__(self, file: Any):
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for a function or class that the pickle names."""
        if module == "torch" and name in DTYPES:
            return _StorageType(np.dtype(DTYPES[name]))

        # New ones each time: a pickle may set attributes of what it names, such as the defaults of a function.
        def rebuilt_tensor(storage: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> Any:
            return _Tensor(storage, offset, tuple(shape), tuple(strides)) if isinstance(storage, _Storage) else storage

        def rebuilt_parameter(tensor: Any, *_: Any) -> Any:
            return tensor

        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): rebuilt_tensor,
            ("torch._utils", "_rebuild_parameter"): rebuilt_parameter,
        }
        return known.get((module, name)) or type("Stub", (_Stub,), {"asks_for": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> Any:
        """Returns a storage, from the type, key and length in the pickle; a stub for one of an unknown kind."""
        kind, storage_type, key, _, length, *_ = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            asks_for = getattr(storage_type, "asks_for", f"{kind!r} outside the file")
            return type("Stub", (_Stub,), {"asks_for": asks_for})()
        storage = _Storage(str(key), storage_type.dtype, int(length))
        if self.storages.setdefault(storage.key, storage) != storage:
            raise TorchFileError(f"it declares storage {key} in two ways")
        return storage


class _Stub:
    """Stands for what a pickle makes with a function or class that is not known: takes everything and does nothing.

    Attributes:
      asks_for: name of the function or class.
    """

    asks_for = ""

    @property
    def reason(self) -> str:
        """Says why a tensor that is made of this cannot be read."""
        return f"asks for {self.asks_for}, which tensors do not need: do not trust this file"

    def __new__(cls, *_: Any, **__: Any) -> "_Stub":
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any):
        pass

    def _ignore(self, *_: Any) -> None:
        pass

    # What a pickle may do to an object: set its state, and fill it as a list, a set or a dictionary.
    __setstate__ = append = extend = add = __setitem__ = _ignore


def _tensors_of(value: Any) -> _Found:
    """Returns the tensors of a state dict, of the one in a checkpoint's "state_dict", or of nested dictionaries."""
    if isinstance(value, dict) and isinstance(value.get("state_dict"), dict):
        value = value["state_dict"]
    if not isinstance(value, dict):
        kind = getattr(value, "asks_for", type(value).__name__)
        raise TorchFileError(f"it holds no dictionary of tensors, but {kind}: save the model's state_dict() instead")
    found, visited, waiting = _Found({}, {}), set(), [("", value)]
    while waiting:
        prefix, content = waiting.pop(0)
        visited.add(id(content))
        named = {f"{prefix}{name}": entry for name, entry in content.items() if isinstance(name, str | int)}
        tensors = {name: entry for name, entry in named.items() if isinstance(entry, _Tensor)}
        found.tensors.update(tensors)
        found.unread.update({name: entry.reason for name, entry in named.items() if isinstance(entry, _Stub)})
        if not tensors:  # beside tensors, nested dictionaries are of something else
            inner = [(f"{name}.", entry) for name, entry in named.items() if isinstance(entry, dict)]
            waiting += [(name, entry) for name, entry in inner if id(entry) not in visited]
    if not found.tensors:
        wrong = next((f"{name} {reason}" for name, reason in found.unread.items()), "its dictionary holds no tensors")
        raise TorchFileError(wrong)
    return found


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
