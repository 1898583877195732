"""Images of a data set that are never trained on, so that one sees whether the others are learned by heart."""

from typing import NamedTuple

import numpy as np

from sagan_jax.data.source import ImageSource, ImageStream
from sagan_jax.errors import InputError

FIELD = "data.holdout"


class Split(NamedTuple):
    """A data set in two parts.

    Attributes:
      training: what is trained on; all of it where nothing is held out.
      held_out: the rest, or None.
    """

    training: ImageSource | ImageStream
    held_out: ImageSource | None


class Part(ImageSource):
    """Some of the images of a data set, in its order.

    Args:
      source: the data set.
      indices: [n] int, of the images.
      name: of the part.
    """

    def __init__(self, source: ImageSource, indices: np.ndarray, name: str):
        self.name, self.class_names = name, source.class_names
        self.labels = None if source.labels is None else source.labels[indices]
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def load(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ImageSource.load`."""
        return self._source.load(self._indices[indices])


def hold_out(source: ImageSource | ImageStream, count: int) -> Split:
    """Splits off so many images, picked at random, and the same for every seed of a run.

    Raises:
      InputError: nothing would be left to train on, or the data set has no random access.
    """
    if not count:
        return Split(source, None)
    if not isinstance(source, ImageSource):
        wrong, remedy = f"needs random access to images, which {source.name} lacks", "prepare it, or hold out 0"
        raise InputError(wrong, field=FIELD, value=count, remedy=remedy)
    if count >= len(source):
        wrong, remedy = f"leaves none of the {len(source):,} images to train on", "hold out fewer"
        raise InputError(wrong, field=FIELD, value=count, remedy=remedy)
    order = np.random.default_rng(0).permutation(len(source))
    held_out, training = np.sort(order[:count]), np.sort(order[count:])
    name = f"{source.name}, {count:,} held out"
    return Split(Part(source, training, name), Part(source, held_out, f"{name}: these"))
