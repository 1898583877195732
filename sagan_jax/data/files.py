"""Image files in folders and zip archives, on this machine or in a bucket."""

import contextlib
import functools
import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from etils import epath

from sagan_jax.data.cifar import CifarImages, is_archive, open_cifar
from sagan_jax.data.encoded import Decoded, EncodedImage
from sagan_jax.data.layout import folder_contents, wrapping_folder
from sagan_jax.data.listing import CLASS_FILE, LABEL_FILE, is_hidden, is_image, plain_path
from sagan_jax.errors import InputError
from sagan_jax.runtime.storage import is_remote
from sagan_jax.runtime.user_paths import user_path


class ImageFiles:
    """`EncodedImages` in a folder or zip archive, or in several that make up one data set.

    The images are in the order of their names, however they are distributed over archives.

    Args:
      paths: folders and zip archives; a "*" in the last part matches any characters.

    Attributes:
      labels: [N] int32.

    Raises:
      InputError: a path is missing, two files have one name, or the classes are ambiguous, see `folder_contents`.
    """

    def __init__(self, paths: Sequence[str]):
        self.name = ", ".join(paths)
        self._containers = [_open_container(path) for pattern in paths for path in _expanded(pattern)]
        self._wrappers = []  # of each container the folder that holds all its files
        part_of: dict[str, int] = {}
        for part, container in enumerate(self._containers):
            inside = container.names()
            self._wrappers.append(wrapping_folder(inside))
            for name in (name.removeprefix(self._wrappers[part]) for name in inside):
                if part_of.setdefault(name, part) != part and is_image(name):
                    both = f"{self._containers[part_of[name]].path} and {container.path}"
                    raise InputError(f"{name} is in both {both}: give each image once.")
        described = [self._root_file(name, part_of) for name in (LABEL_FILE, CLASS_FILE)]
        layout = folder_contents(self.name, list(part_of), *described)
        self.class_names, self.remarks = layout.class_names, layout.remarks
        self.labels = np.asarray(layout.labels, np.int32)
        self._names = layout.names
        self._parts = [part_of[name] for name in layout.names]

    def __len__(self) -> int:
        return len(self._names)

    def file(self, index: int) -> EncodedImage:
        """Returns the encoded image at an index."""
        part = self._parts[index]
        container, name = self._containers[part], self._wrappers[part] + self._names[index]
        return EncodedImage(
            f"{container.path}/{name}", int(self.labels[index]), functools.partial(container.read, name)
        )

    def shard(self, index: int, count: int) -> Iterator[EncodedImage]:
        """See `EncodedImages.shard`."""
        for position in np.array_split(np.arange(len(self)), count)[index]:
            yield self.file(int(position))

    def identity(self) -> str:
        """See `EncodedImages.identity`."""
        listing = "\n".join([*self.class_names, "", *self._names])
        digest = hashlib.sha256(listing.encode(errors="surrogatepass"))  # names of files need not be valid text
        digest.update(self.labels.tobytes())
        return digest.hexdigest()

    def sizes(self) -> list[int]:
        """Returns the bytes of each file; -1 if it is in a bucket, where that takes a request per file, or is gone."""
        places = zip(self._parts, self._names, strict=True)
        return [self._containers[part].size(self._wrappers[part] + name) for part, name in places]

    def _root_file(self, name: str, part_of: dict[str, int]) -> bytes | None:
        """Reads a file that describes the whole data set, if present. Raises InputError if there are several parts."""
        if name not in part_of:
            return None
        container, wrapper = self._containers[part_of[name]], self._wrappers[part_of[name]]
        if len(self._containers) > 1:
            raise InputError(f"{container.path} has a {name}, which counts only for a single folder or zip: give one.")
        return container.read(wrapper + name)


def open_listing(paths: Sequence[str]) -> ImageFiles | CifarImages:
    """Opens what `paths` name: image files, see `ImageFiles`, or a single CIFAR, see `open_cifar`.

    Raises:
      InputError: see there.
    """
    cifar = open_cifar(paths[0]) if len(paths) == 1 else None
    return cifar or ImageFiles(paths)


def open_files(path: str, resolution: int) -> Decoded:
    """Opens a folder or archive as an `ImageSource` that decodes images when they are loaded.

    Raises:
      InputError: see `open_listing`.
    """
    try:
        files = open_listing([path])
    except InputError as error:
        raise InputError(f": {error}", field="data.source", value=f"folder:{path}") from error
    # Names, classes and sizes, not the path or contents: reading all files at every start would take too long.
    sizes = files.sizes() if isinstance(files, ImageFiles) else ""
    identity = hashlib.sha256(f"{files.identity()} {sizes}".encode()).hexdigest()[:12]
    name = f"folder:{identity}"
    return Decoded(len(files), files.file, resolution, name, files.class_names, files.labels, files.remarks)


class _Container:
    """Files with their `plain_path` for a name."""

    def __init__(self, path: epath.Path, stored: Iterable[str]):
        self.path = path
        self._names: list[str] = []
        self._stored: dict[str, str] = {}  # by name, where it differs
        seen = set()
        for original in stored:
            name = plain_path(original)
            if name in seen and not name.endswith("/") and not is_hidden(name):
                raise InputError(f"{path} has two files of the name {name}: rename or remove one.")
            if name and name not in seen:
                seen.add(name)
                self._names.append(name)
            if name != original:
                self._stored[name] = original

    def names(self) -> list[str]:
        """Returns the relative paths, with "/", of all files and folders below; those of folders end with "/"."""
        return self._names

    def stored(self, name: str) -> str:
        """Returns the name as it is on the disk or in the archive."""
        return self._stored.get(name, name)


class _Folder(_Container):
    def __init__(self, path: epath.Path):
        super().__init__(path, _below(path))

    def size(self, name: str) -> int:
        path = self.path / self.stored(name)
        return path.stat().length if not is_remote(path) and path.exists() else -1

    def read(self, name: str) -> bytes:
        path = self.path / self.stored(name)
        if not is_remote(path) and not os.path.isfile(path):
            raise OSError("no regular file")  # a pipe would block for ever
        return path.read_bytes()


class _Zip(_Container):
    def __init__(self, path: epath.Path):
        self.path = path
        names = self._archive.namelist()
        encrypted = [entry.filename for entry in self._archive.infolist() if entry.flag_bits & 1]
        strange = [name for name in names if "\\" in name or name.startswith("/") or ".." in name.split("/")]
        if strange:
            raise InputError(f"{path} has names that are no relative paths (such as {strange[0]!r}): pack it again.")
        if encrypted:
            raise InputError(f"{path} is encrypted (such as {encrypted[0]}): unpack it and give the folder.")
        super().__init__(path, names)

    def size(self, name: str) -> int:
        return self._archive.getinfo(self.stored(name)).file_size

    def read(self, name: str) -> bytes:
        return self._archive.read(self.stored(name))

    @functools.cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            # TensorFlow's files are open only as context managers.
            return zipfile.ZipFile(contextlib.ExitStack().enter_context(self.path.open("rb")))
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            raise InputError(
                f"{self.path} is not a zip archive that can be read ({error}): copy or pack it again."
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_archive"}  # an open file


def _below(path: epath.Path) -> Iterator[str]:
    """Yields the relative paths, with "/", of all files and folders below; those of folders end with "/"."""
    root = os.fspath(path).rstrip("/")
    # The walk over a bucket may yield paths without the scheme.
    prefix = root.partition("://")[2] if is_remote(root) else root
    for folder, folders, files in path.walk() if is_remote(root) else _walk(root):
        below = os.fspath(folder).partition(prefix)[2].lstrip("/")
        below = f"{below}/" if below else ""
        yield from (below + name for name in files)
        yield from (f"{below}{name}/" for name in folders)


def _walk(root: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walks as os.walk does, following links, except to folders already visited."""

    def fail(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read ({error.strerror}): change its permissions.") from error

    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=fail):
        seen.add(os.path.realpath(folder))
        paths = {name: os.path.join(folder, name) for name in folders}
        folders[:] = [n for n, path in paths.items() if not (os.path.islink(path) and os.path.realpath(path) in seen)]
        yield folder, folders, files


def _open_container(path: epath.Path) -> _Folder | _Zip:
    if path.is_dir():
        return _Folder(path)
    if is_archive(path):
        raise InputError(f"{path} is a tar archive but not that of CIFAR: unpack it and give the folder.")
    if path.exists():
        return _Zip(path)
    raise InputError(f"there is no folder or zip archive {path}: give one of images, with a subfolder per class.")


def _expanded(pattern: str) -> list[epath.Path]:
    path = user_path(pattern)
    if "*" not in PurePosixPath(pattern).name:
        return [path]
    found = sorted(path.parent.glob(path.name), key=str)
    if not found:
        raise InputError(f"nothing is called {pattern}: give the path of a folder or zip archive of images.")
    return found
