"""Images as people keep them: files still encoded, of any size and mode, in folders, archives or records."""

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError

from sagan_jax.data.resize import square_rgb
from sagan_jax.errors import InputError


class EncodedImage(NamedTuple):
    """One file.

    Attributes:
      name: for messages.
      label: in [0, number of classes).
      read: its bytes; may raise anything where they are damaged.
    """

    name: str
    label: int
    read: Callable[[], bytes]


class EncodedImages(Protocol):
    """A finite data set of encoded images; it can be pickled, for other processes.

    Attributes:
      name: what the log calls it.
      class_names: one per label, in label order; ("all",) where images have no classes.
      ignored: number of files beside them that are no images.
    """

    name: str
    class_names: tuple[str, ...]
    ignored: int

    def __len__(self) -> int:
        """Number of images."""

    def shard(self, index: int, count: int) -> Iterator[EncodedImage]:
        """The `index`-th of `count` even, contiguous parts, always in the same order."""

    def identity(self) -> str:
        """A text that differs if the listing of images and labels differs."""


class Decoded:
    """An `ImageSource` that decodes, crops and resizes encoded files each time they are loaded.

    Args:
      name, class_names: of the data set.
      labels: [N] int32, or None where they are only known once an image is read.
      file: gives the encoded image of an index.
      resolution: side of the images to make.
    """

    def __init__(
        self,
        name: str,
        class_names: tuple[str, ...],
        labels: np.ndarray | None,
        num_images: int,
        file: Callable[[int], EncodedImage],
        resolution: int,
    ):
        self.name = name
        self.class_names = class_names
        self.labels = labels
        self.num_images = num_images
        self.file = file
        self.resolution = resolution

    def __len__(self) -> int:
        return self.num_images

    def load(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ImageSource.load`. Raises InputError, naming the file, if one cannot be decoded."""
        files = [self.file(int(index)) for index in indices]
        images = np.stack([decode(file, self.resolution) for file in files])
        return images, np.asarray([file.label for file in files], np.int32)

    def content_hash(self) -> str:
        """See `ImageSource.content_hash`. That of the encoded files, with all that their pixels depend on besides."""
        digest = hashlib.sha256(f"{self.resolution} {PIL.__version__} {self.class_names}".encode(errors="replace"))
        for index in range(len(self)):
            file = self.file(index)
            digest.update(f"{file.label} ".encode() + hashlib.sha256(file.read()).digest())
        return digest.hexdigest()


def decode(file: EncodedImage, resolution: int) -> np.ndarray:
    """[resolution, resolution, 3] uint8. Raises InputError, naming the file, if it cannot be decoded."""
    with opened(file) as image:
        return square_rgb(image, resolution)


@contextlib.contextmanager
def opened(file: EncodedImage) -> Iterator[Image.Image]:
    """The image, decoded as far as needed. Raises InputError, naming the file, if that or its use fails."""
    try:
        with Image.open(io.BytesIO(file.read())) as image:
            yield image
    except InputError:
        raise
    except Exception as error:  # on damaged files decoders raise TypeErrors, struct.errors and more
        raise InputError(f"{file.name} is not a readable image ({reason(error)}): mend or delete it.") from error


def reason(error: Exception) -> str:
    """Why an image is unreadable, in words that are the same each time."""
    return "in no known format" if isinstance(error, UnidentifiedImageError) else str(error)
