"""CIFAR-10 and CIFAR-100 as their authors and torchvision keep them: pickled batches in a folder or a tar archive."""

import codecs
import functools
import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from sagan_jax.data.encoded import EncodedImage
from sagan_jax.data.listing import plain_path
from sagan_jax.errors import InputError
from sagan_jax.runtime.user_paths import user_path

SIDE = 32  # pixels
ARCHIVES = (".tar", ".tar.gz", ".tgz")


class Layout(NamedTuple):
    """The files and fields of a data set."""

    folder: str
    meta: str
    train: tuple[str, ...]
    test: str
    names_key: str
    labels_key: str


LAYOUTS = (
    Layout(
        "cifar-10-batches-py",
        "batches.meta",
        tuple(f"data_batch_{number}" for number in range(1, 6)),
        "test_batch",
        "label_names",
        "labels",
    ),
    Layout("cifar-100-python", "meta", ("train",), "test", "fine_label_names", "fine_labels"),
)


class _Batches(NamedTuple):
    """Files of a data set, by name; `names` are those of the batches."""

    layout: Layout
    names: tuple[str, ...]
    files: dict[str, bytes]


def open_cifar(path: str) -> "CifarImages | None":
    """Opens the training images in a folder or a tar archive, or those of a single file such as "test_batch".

    Returns:
      None if these are not there.

    Raises:
      InputError: a batch is missing or damaged.
    """
    place = user_path(path)
    batches = _batches_of_archive(place) if is_archive(place) else _batches_of_folder(place)
    return None if batches is None else CifarImages(path, batches)


def is_archive(path: epath.Path) -> bool:
    """Returns whether a path is that of a tar archive, which need not be CIFAR's."""
    return path.name.endswith(ARCHIVES) and path.exists()


def _batches_of_folder(place: epath.Path) -> _Batches | None:
    for layout in LAYOUTS:
        folder, names = place, layout.train
        if place.name in (*layout.train, layout.test):
            folder, names = place.parent, (place.name,)
        elif (place / layout.folder / layout.meta).exists():
            folder = place / layout.folder
        wanted = [folder / name for name in (layout.meta, *names)]
        present = [file for file in wanted if file.exists() and not file.is_dir()]
        if present[:2] == wanted[:2]:
            return _Batches(layout, names, {file.name: file.read_bytes() for file in present})
    return None


def _batches_of_archive(place: epath.Path) -> _Batches | None:
    layouts = {layout.folder: layout for layout in LAYOUTS}
    layout, files = None, {}
    try:
        # In the order of the archive, since going back in it would decompress it again.
        with place.open("rb") as file, tarfile.open(fileobj=file) as archive:
            for member in archive:
                folder, _, name = plain_path(member.name).partition("/")
                layout = layouts.get(folder)
                if layout is None:
                    return None  # perhaps a large archive of something else
                if name in (layout.meta, *layout.train) and (content := archive.extractfile(member)):
                    files[name] = content.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise _damaged(str(place), error) from error
    return None if layout is None else _Batches(layout, layout.train, files)


class CifarImages:
    """`EncodedImages` of CIFAR, from `open_cifar`.

    Attributes:
      labels: [N] int32.
    """

    def __init__(self, path: str, batches: _Batches):
        self.name = path
        layout, names, files = batches
        for name in (layout.meta, *names):
            if name not in files:
                raise InputError(f"{path} has no {name}: download it again.")
        meta, *contents = (_unpickled(files[name], path) for name in (layout.meta, *names))
        try:
            self.class_names = tuple(_text(name) for name in meta[layout.names_key])
            self._pixels = np.concatenate([_pixels(content) for content in contents])
            self.labels = np.concatenate([np.asarray(content[layout.labels_key], np.int32) for content in contents])
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise _damaged(path, error) from error
        if len(self.labels) != len(self._pixels) or not 0 <= self.labels.min() <= self.labels.max() < len(
            self.class_names
        ):
            raise _damaged(path, "labels and images do not fit")
        self.remarks: tuple[str, ...] = ()
        if names == layout.train:
            self.remarks = (f"these are the training images; for those of the test give the file {layout.test}",)

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[Any, ...]:
        return open_cifar, (self.name,)  # reading again is faster than a copy through a file

    def file(self, index: int) -> EncodedImage:
        """Returns an image at an index, as a PPM file, which is a header before the pixels."""
        return EncodedImage(
            f"{self.name}, image {index}", int(self.labels[index]), functools.partial(_ppm, self._pixels, index)
        )

    def shard(self, index: int, count: int) -> Iterator[EncodedImage]:
        """See `EncodedImages.shard`."""
        for position in np.array_split(np.arange(len(self)), count)[index]:
            yield self.file(int(position))

    def identity(self) -> str:
        """See `EncodedImages.identity`."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        digest.update(self.labels.tobytes())
        digest.update(self._pixels.data)
        return digest.hexdigest()


def _pixels(file: dict[str, Any]) -> np.ndarray:
    """Returns the images [n, H, W, 3] uint8 of a batch, which holds them channel by channel."""
    data = file["data"]
    if data.dtype != np.uint8:
        raise ValueError(f"its pixels are {data.dtype}")
    return np.ascontiguousarray(data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


def _ppm(pixels: np.ndarray, index: int) -> bytes:
    return f"P6 {SIDE} {SIDE} 255\n".encode() + pixels[index].tobytes()


_RECONSTRUCT = np.zeros(0).__reduce__()[0]
PICKLED = {  # what a pickled array consists of; all else could run anything
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
}


class _ArraysOnly(pickle.Unpickler):
    """Reads pickled arrays, lists and texts."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PICKLED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array")
        return PICKLED[module, name]


def _unpickled(data: bytes, path: str) -> dict[str, Any]:
    try:
        values = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
        return {_text(key): value for key, value in values.items()}
    except Exception as error:  # damaged pickles raise whatever their bytes happen to mean
        raise _damaged(path, error) from error


def _text(value: bytes | str) -> str:
    """Returns a text; those that Python 2 has pickled come as bytes."""
    return value.decode() if isinstance(value, bytes) else value


def _damaged(path: str, error: object) -> InputError:
    return InputError(f"{path} is damaged ({error}): download it again.")
