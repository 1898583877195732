"""The protocols of data sets, and the data sets that a config can name."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from ml_collections import ConfigDict

from sagan_jax.errors import InputError

ONE_CLASS = ("all",)  # class names of images without classes
HASHED_AT_ONCE = 256  # images


@runtime_checkable
class ImageSource(Protocol):
    """A finite data set with random access. Subclass it for images of your own: only `__len__` and `load` are required.

    For example, a folder with a subfolder of JPEG files per class:

        class JpegFolder(ImageSource):
            name = "my photographs"

            def __init__(self, folder, resolution):
                self.files = sorted(Path(folder).glob("*/*.jpg"))
                classes = [file.parent.name for file in self.files]
                self.class_names = tuple(sorted(set(classes)))
                self.labels = np.array([self.class_names.index(name) for name in classes], np.int32)
                self.size = (resolution, resolution)

            def __len__(self):
                return len(self.files)

            def load(self, indices):
                images = [Image.open(self.files[i]).convert("RGB").resize(self.size) for i in indices]
                return np.stack([np.asarray(image) for image in images]), self.labels[indices]

    Attributes:
      name: identifies the data set: a run continues only on data of the same name, length and class names.
      class_names: one per label, in label order; by default there is one class.
      labels: [N] int32 of all images, or None (the default) if they are known only after loading. Sampling by class
        frequencies, class-balanced real batches and pictures of each class need them.
    """

    name: str = "images"
    class_names: tuple[str, ...] = ONE_CLASS
    labels: np.ndarray | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of images N."""

    @abstractmethod
    def load(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns images and their labels, the same each time.

        Several threads call it at once.

        Args:
          indices: [n] int, from 0 to N - 1, in any order, repetitions included.

        Returns:
          Images [n, H, W, 3] uint8 (RGB, 0 to 255) at the resolution of the run; labels [n] int32.
        """

    def content_hash(self) -> str:
        """Returns a SHA-256 that changes if an image, a label or a class name does. By default it loads every image."""
        (first,), _ = self.load(np.zeros(1, int))
        digest = hashlib.sha256(f"{(len(self), *first.shape)} {self.class_names}".encode())
        labels = []
        for start in range(0, len(self), HASHED_AT_ONCE):
            images, loaded = self.load(np.arange(start, min(start + HASHED_AT_ONCE, len(self))))
            digest.update(images.tobytes())
            labels.append(loaded)
        digest.update(np.concatenate(labels).tobytes())
        return digest.hexdigest()


class ImageStream(Protocol):
    """A finite data set without random access, of which this process reads its share.

    Attributes:
      name, class_names: as in `ImageSource`.
    """

    name: str
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        """Returns the number of images over all processes."""

    def read(self, seed: int, first_image: int, threads: int, ahead: int) -> Iterator[tuple[np.ndarray, int]]:
        """Yields endlessly the shuffled images [H, W, 3] uint8 of this process and their labels.

        Args:
          seed: of the order.
          first_image: position in this process's sequence to begin at.
          threads: number of threads that decode.
          ahead: number of images decoded in advance.
        """


def open_source(config: ConfigDict) -> ImageSource | ImageStream:
    """Opens the data set that `config.data` names.

    Raises:
      InputError: the data set is unknown, missing or damaged; the message names the command that prepares it.
    """
    # Each kind imports its own libraries, so that none requires those of the others.
    data = config.data
    kind, _, rest = data.source.partition(":")
    match kind:
        case "digits" if not rest:
            from sagan_jax.data.digits import Digits

            return Digits(data.resolution)
        case "prepared" if rest:
            from sagan_jax.data.prepared import open_prepared

            return open_prepared(rest, data.resolution, data.cache_dir)
        case "folder" if rest:
            from sagan_jax.data.files import open_files

            return open_files(rest, data.resolution)
        case "tfds" if rest:
            from sagan_jax.data.tfds_source import TfdsImages, open_tfds

            images = TfdsImages(rest, data.split, data.data_dir, data.image_key, data.label_key)
            return open_tfds(images, data.resolution)
        case _:
            raise InputError(
                "is unknown",
                field="data.source",
                value=data.source,
                remedy="it must be digits, prepared:DIR (made by python -m sagan_jax.prepare), folder:PATH (a folder or"
                " zip, or CIFAR's archive) or tfds:NAME (such as tfds:cifar10)",
            )


def class_counts(source: ImageSource | ImageStream) -> np.ndarray | None:
    """Counts the images of each class, [number of classes]; None if the labels are known only after loading."""
    labels = source.labels if isinstance(source, ImageSource) else None
    return None if labels is None else np.bincount(labels, minlength=len(source.class_names))


def class_frequencies(config: ConfigDict, source: ImageSource | ImageStream) -> tuple[float, ...]:
    """Returns the fraction of each class among generated labels; empty if all classes are equally frequent.

    Raises:
      InputError: `data.class_sampling` asks for the frequencies of the data, which are not known.
    """
    if config.data.class_sampling == "uniform" or not config.model.num_classes:
        return ()
    counts = class_counts(source)
    if counts is None:
        raise InputError(
            f"needs the labels of all images, which {source.name} does not list",
            field="data.class_sampling",
            value=config.data.class_sampling,
            remedy="prepare it with python -m sagan_jax.prepare, or use 'uniform'",
        )
    return tuple((counts / counts.sum()).tolist())
