"""Table and example images of the classes of a data set, by which a person checks them."""

from collections.abc import Iterable, Sequence

import numpy as np

from sagan_jax.data.source import ImageSource

SHOWN_CLASSES = 50  # rows of a table on the terminal


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


def class_examples(source: ImageSource, classes: Iterable[int], columns: int) -> np.ndarray:
    """Loads images [R, columns, H, W, 3] uint8: a row per class, spread evenly over its images, repeated if too few.

    The row of a class without images is grey. `source.labels` must be known.
    """
    assert source.labels is not None
    rows = []
    for label in classes:
        members = np.flatnonzero(source.labels == label)
        candidates = members if len(members) else np.zeros(1, int)
        images, _ = source.load(candidates[np.linspace(0, len(candidates) - 1, columns).round().astype(int)])
        rows.append(images if len(members) else np.full_like(images, 128))
    return np.stack(rows)
