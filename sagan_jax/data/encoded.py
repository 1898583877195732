"""Encoded images (JPEG, PNG, ...) of any size and mode, and a data set that decodes them when they are loaded."""

import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError

from sagan_jax.data.color import VERSION
from sagan_jax.data.resize import square_rgb
from sagan_jax.data.source import ImageSource
from sagan_jax.errors import InputError

SAMPLE = 1024  # images, encoded; of ImageNet 100 MB


class EncodedImage(NamedTuple):
    """An encoded image.

    Attributes:
      name: for messages.
      label: in [0, number of classes).
      read: returns its bytes; may raise any exception if they are damaged.
    """

    name: str
    label: int
    read: Callable[[], bytes]


class EncodedImages(Protocol):
    """A finite data set of encoded images; it can be pickled, for other processes.

    Attributes:
      name: for messages.
      class_names: one per label, in label order; `ONE_CLASS` for images without classes.
      remarks: sentences on what was left out, and on labels that may be meant otherwise.
    """

    name: str
    class_names: tuple[str, ...]
    remarks: tuple[str, ...]

    def __len__(self) -> int:
        """Returns the number of images."""

    def shard(self, index: int, count: int) -> Iterator[EncodedImage]:
        """Yields the `index`-th of `count` even, contiguous parts, always in the same order."""

    def identity(self) -> str:
        """Returns a text that changes if the listing of images and labels does."""


@runtime_checkable
class Sampled(Protocol):
    """A data set that can show some of its images with their labels, though it does not list all.

    Attributes:
      resolution: side in pixels of the decoded images.
    """

    resolution: int

    def sample(self) -> Sequence[EncodedImage]:
        """Returns up to SAMPLE images, always the same; their labels are found without decoding the images."""


@dataclasses.dataclass(eq=False)
class Decoded(ImageSource):
    """An `ImageSource` that decodes, crops and resizes encoded images each time they are loaded.

    Attributes:
      num_images: number of images.
      file: returns the encoded image at an index.
      resolution: side in pixels of the decoded images.
      name, class_names, labels: see `ImageSource`.
      remarks: see `EncodedImages`.
    """

    num_images: int
    file: Callable[[int], EncodedImage]
    resolution: int
    name: str
    class_names: tuple[str, ...]
    labels: np.ndarray | None = None
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.num_images

    def load(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ImageSource.load`. Raises InputError, naming the file, if an image cannot be decoded."""
        files = [self.file(int(index)) for index in indices]
        images = np.stack([decode(file, self.resolution) for file in files])
        return images, np.asarray([file.label for file in files], np.int32)

    def sample(self) -> Sequence[EncodedImage]:
        """See `Sampled.sample`."""
        indices = np.unique(np.linspace(0, len(self) - 1, SAMPLE).round().astype(int))
        return [self.file(int(index)) for index in indices]

    def content_hash(self) -> str:
        """See `ImageSource.content_hash`. Hashes the encoded files and what else their pixels depend on."""
        rules = f"{self.resolution} {PIL.__version__} {VERSION} {self.class_names}"
        digest = hashlib.sha256(rules.encode(errors="replace"))
        for index in range(len(self)):
            file = self.file(index)
            digest.update(f"{file.label} ".encode() + hashlib.sha256(file.read()).digest())
        return digest.hexdigest()


def decode(file: EncodedImage, resolution: int) -> np.ndarray:
    """Decodes to [resolution, resolution, 3] uint8. Raises InputError, naming the file, if that fails."""
    with open_image(file) as image:
        return square_rgb(image, resolution)


@contextlib.contextmanager
def open_image(file: EncodedImage) -> Iterator[Image.Image]:
    """Opens an image, decoded when its pixels are used. Raises InputError, naming the file, if either fails."""
    try:
        with Image.open(io.BytesIO(file.read())) as image:
            yield image
    except InputError:
        raise
    except Exception as error:  # decoders raise TypeError, struct.error and more on damaged files
        raise InputError(f"{file.name} is not a readable image ({reason(error)}): mend or delete it.") from error


def reason(error: Exception) -> str:
    """Returns why an image is unreadable, in words that do not vary between attempts."""
    return "in no known format" if isinstance(error, UnidentifiedImageError) else str(error)
