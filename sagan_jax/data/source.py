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

    def __len__(self) -> int:
        """Number of images."""

    def load(self, index: int) -> tuple[np.ndarray, int]:
        """Image [H, W, 3] uint8 at the resolution of the run, and its label."""


class ImageStream(Protocol):
    """A finite data set that can only be read in its files' order, already cut to this process's share.

    Attributes:
      name, class_names: as in `ImageSource`.
    """

    name: str
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of images over all processes."""

    def read(self, seed: int, first_image: int, threads: int, ahead: int) -> Iterator[tuple[np.ndarray, int]]:
        """Endless shuffled images of this process from its `first_image`-th on, as `ImageSource.load` gives them.

        Up to `ahead` images are decoded in advance, `threads` at a time.
        """


def open_source(config: ConfigDict) -> ImageSource | ImageStream:
    """The data set that `config.data` names.

    Raises:
      InputError: it is unknown, missing or damaged; the message says how to prepare it.
    """
    # Each kind imports its own libraries, so that none needs those of the others.
    kind, _, rest = config.data.source.partition(":")
    match kind:
        case "digits" if not rest:
            from sagan_jax.data.digits import Digits

            return Digits(config.data.resolution)
        case "folder" if rest:
            from sagan_jax.data.folder import ImageFolder

            return ImageFolder(rest, config.data.resolution)
        case "tfds" if rest:
            from sagan_jax.data.tfds_source import open_tfds

            return open_tfds(rest, config.data.split, config.data.data_dir, config.data.resolution)
        case _:
            raise InputError(
                f"data.source = {config.data.source!r} is unknown: it must be digits, tfds:NAME"
                " (such as tfds:cifar10) or folder:PATH."
            )
