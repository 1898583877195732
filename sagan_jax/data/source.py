"""A data set as the rest of the program sees it, and how a name becomes one."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from ml_collections import ConfigDict

from sagan_jax.errors import InputError


@runtime_checkable
class ImageSource(Protocol):
    """A finite data set with random access.

    Attributes:
      name: what the log calls it.
      class_names: one per label, in label order.
    """

    name: str
    class_names: tuple[str, ...]

    @property
    def labels(self) -> np.ndarray | None:
        """[N] int32, or None where labels are only known once an image is read."""

    def __len__(self) -> int:
        """Number of images."""

    def load(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images [n, H, W, 3] uint8 at the resolution of the run, and their labels [n] int32."""

    def content_hash(self) -> str:
        """A SHA-256 that differs if an image or a label differs; may have to read everything."""


class ImageStream(Protocol):
    """A finite data set that can only be read in its files' order, already cut to this process's part.

    Attributes:
      name, class_names: as in `ImageSource`.
    """

    name: str
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of images over all processes."""

    def read(self, seed: int, first_image: int, threads: int, ahead: int) -> Iterator[tuple[np.ndarray, int]]:
        """Endless shuffled images of this process from its `first_image`-th on: [H, W, 3] uint8 and label.

        Up to `ahead` images are decoded in advance, `threads` at a time.
        """


def open_source(config: ConfigDict) -> ImageSource | ImageStream:
    """The data set that `config.data` names.

    Raises:
      InputError: it is unknown, missing or damaged; the message says how to prepare it.
    """
    # Each kind imports its own libraries, so that none needs those of the others.
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
            from sagan_jax.data.tfds_source import open_tfds

            return open_tfds(rest, data.split, data.data_dir, data.resolution)
        case _:
            raise InputError(
                "is unknown",
                field="data.source",
                value=data.source,
                remedy="it must be digits, prepared:DIR (made by python -m sagan_jax.prepare), folder:PATH (a folder or"
                " zip) or tfds:NAME (such as tfds:cifar10)",
            )


def class_counts(source: ImageSource | ImageStream) -> np.ndarray | None:
    """Images per class [number of classes], or None where that is only known once all are read."""
    labels = source.labels if isinstance(source, ImageSource) else None
    return None if labels is None else np.bincount(labels, minlength=len(source.class_names))


def class_frequencies(config: ConfigDict, source: ImageSource | ImageStream) -> tuple[float, ...]:
    """The fraction of each class among generated labels; empty where all are alike.

    Raises:
      InputError: `data.class_sampling` wants those of the data, which are not known.
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
