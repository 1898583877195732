"""Table and example images of the classes of a data set, by which a person checks them."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from sagan_jax.data.encoded import Sampled, decode
from sagan_jax.data.source import ImageSource, ImageStream

SHOWN_CLASSES = 50  # rows of a table on the terminal


class Look(NamedTuple):
    """Images of a data set whose labels are known: all of them, or some.

    Attributes:
      labels: [n].
      load: returns the images [k, H, W, 3] uint8 at positions [k] from 0 to n - 1.
    """

    labels: np.ndarray
    load: Callable[[np.ndarray], np.ndarray]


def look_at(source: ImageSource | ImageStream) -> Look | None:
    """Returns the images of a data set, or a sample of those that do not list their labels; None if it has none."""
    if isinstance(source, ImageSource) and source.labels is not None:
        return Look(source.labels, lambda positions: source.load(positions)[0])
    if not isinstance(source, Sampled):
        return None
    files = source.sample()
    labels = np.asarray([file.label for file in files], np.int32)
    return Look(labels, lambda positions: np.stack([decode(files[i], source.resolution) for i in positions]))


def class_overview(source: ImageSource | ImageStream) -> list[str] | None:
    """Returns the `class_table` of a data set, or that of a sample, under a line that says so; None if it has none."""
    look = look_at(source)
    if look is None:
        return None
    known = look.labels[look.labels >= 0]  # some data sets mark unknown ones with -1
    table = class_table(source.class_names, np.bincount(known, minlength=len(source.class_names)))
    if len(look.labels) == len(source):
        return table
    return [f"of {len(look.labels):,} of the {len(source):,} images, which do not list their labels", *table]


def class_table(class_names: Sequence[str], counts: Sequence[int] | np.ndarray) -> list[str]:
    """Returns lines with label, name, number and fraction of the images of each class."""
    # The name of a folder may hold line breaks, and bytes that are not text.
    class_names = ["".join(letter if letter.isprintable() else "?" for letter in name) for name in class_names]
    width = max(5, *(len(name) for name in class_names))
    total = max(1, int(np.sum(counts)))
    lines = [f"label  {'class':<{width}}  {'images':>9}   fraction"]
    for label, (name, count) in enumerate(zip(class_names, counts, strict=True)):
        lines.append(f"{label:>5}  {name:<{width}}  {count:>9,}  {count / total:6.2%}")
    return lines


def shortened(table: list[str], where: str) -> list[str]:
    """Cuts a class table to the length of a terminal; `where` is the file with the whole one."""
    if len(table) <= SHOWN_CLASSES + 1:
        return table
    return [*table[: SHOWN_CLASSES + 1], f"       and {len(table) - SHOWN_CLASSES - 1} more classes, see {where}"]


def class_examples(source: ImageSource | ImageStream, classes: Iterable[int], columns: int) -> np.ndarray:
    """Loads images [R, columns, H, W, 3] uint8: a row per class, spread evenly over its images, repeated if too few.

    The row of a class without images is grey. `look_at` must find some images.
    """
    look = look_at(source)
    assert look is not None
    rows = []
    for label in classes:
        members = np.flatnonzero(look.labels == label)
        candidates = members if len(members) else np.zeros(1, int)
        images = look.load(candidates[np.linspace(0, len(candidates) - 1, columns).round().astype(int)])
        rows.append(images if len(members) else np.full_like(images, 128))
    return np.stack(rows)
