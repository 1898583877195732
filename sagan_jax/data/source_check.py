"""A check that a user's own data set keeps to the protocol of `ImageSource`."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from sagan_jax.errors import InputError

MEMBERS = ("name", "class_names", "labels", "__len__", "load", "content_hash")
CHECKED_IMAGES = 4


def check_source(source: Any, resolution: int) -> None:
    """Checks a data set on a few of its images.

    Args:
      source: an `ImageSource`, or what should be one.
      resolution: side in pixels of the images that the run expects.

    Raises:
      InputError: a member is missing, or something has a wrong type, shape, dtype or range.
    """
    for fault in _faults(source, resolution):
        raise InputError(f"source = {type(source).__name__}: {fault}.")


def _faults(source: Any, resolution: int) -> Iterator[str]:
    """Yields what breaks the protocol; what follows a fault relies on its absence, so only the first counts."""
    missing = [member for member in MEMBERS if not hasattr(source, member)]
    if missing:
        yield (
            f"it has no {', '.join(missing)}, so make it a subclass of sagan_jax.data.ImageSource, which has defaults"
            " for all but __len__ and load"
        )
    if not len(source):
        yield "it has no images, so check the path or pattern of its files"
    class_names, labels = source.class_names, source.labels
    if not (isinstance(class_names, tuple) and class_names and all(isinstance(name, str) for name in class_names)):
        yield f"class_names = {class_names!r} must be a tuple of strings, one per label"
    if labels is not None:
        yield from _label_faults("labels", labels, len(source), len(class_names))
    indices = np.linspace(len(source) - 1, 0, CHECKED_IMAGES).astype(int)
    loaded = source.load(indices)
    if not (isinstance(loaded, tuple) and len(loaded) == 2):
        yield f"load returns a {type(loaded).__name__}, but must return two arrays, images and labels"
    images, loaded_labels = loaded
    shape = (len(indices), resolution, resolution, 3)
    if not _is_array(images, np.uint8, shape):
        yield f"load returns images that are {_described(images)}, but must be uint8 (0 to 255) of shape {shape}"
    yield from _label_faults("load's labels", loaded_labels, len(indices), len(class_names))
    if labels is not None and not np.array_equal(loaded_labels, labels[indices]):
        yield (
            f"load returns the labels {loaded_labels.tolist()} for the images {indices.tolist()}, but its attribute"
            f" labels has {labels[indices].tolist()}, so bring both into the same order"
        )


def _label_faults(which: str, labels: Any, count: int, num_classes: int) -> Iterator[str]:
    if not _is_array(labels, np.int32, (count,)):
        yield f"{which} are {_described(labels)}, but must be int32 of shape ({count},)"
    if labels.min() < 0 or labels.max() >= num_classes:
        yield (
            f"{which} go from {labels.min()} to {labels.max()}, but must be 0 to {num_classes - 1}, since class_names"
            f" has {num_classes} names"
        )


def _is_array(value: Any, dtype: type, shape: tuple[int, ...]) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == dtype and value.shape == shape


def _described(value: Any) -> str:
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
