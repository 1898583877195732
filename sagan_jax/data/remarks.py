"""Says of a data set, before anything is trained on it, what a person should know of its images."""

import collections
from collections.abc import Iterable, Iterator

import numpy as np

from sagan_jax.data.color import DIM, Converted, to_srgb
from sagan_jax.data.encoded import Decoded, open_image
from sagan_jax.data.source import ImageSource, ImageStream

LOOKED_AT = 16  # images


def remarks_of(source: ImageSource | ImageStream) -> Iterator[str]:
    """Yields sentences on what was left out of a data set, and on the pixels of a few of its images.

    Raises:
      InputError: one of these images cannot be decoded.
    """
    yield from getattr(source, "remarks", ())
    if isinstance(source, Decoded):
        indices = np.unique(np.linspace(0, len(source) - 1, LOOKED_AT).round().astype(int))
        counts = count_conversions(_converted(source, indices))
        yield from conversion_remarks(counts, f"of {len(indices)} images looked at, ")


def print_remarks(source: ImageSource | ImageStream) -> None:
    """Prints them, a line each."""
    for remark in remarks_of(source):
        print(f"note: {source.name}: {remark}", flush=True)


def _converted(source: Decoded, indices: Iterable[int]) -> Iterator[Converted]:
    for index in indices:
        with open_image(source.file(int(index))) as image:
            yield to_srgb(image)


def count_conversions(converted: Iterable[Converted]) -> collections.Counter[str]:
    """Counts of images how many had a colour profile, 16 bits, and 16 bits of which few are used."""
    counts: collections.Counter[str] = collections.Counter()
    for image in converted:
        counts.update(name for name in ("profiled", "deep", "dim") if getattr(image, name))
    return counts


def conversion_remarks(counts: collections.Counter[str], of_which: str) -> Iterator[str]:
    """Yields sentences on counted conversions; each begins with `of_which`."""
    if counts["profiled"]:
        yield f"{of_which}{counts['profiled']:,} with a colour profile other than sRGB, which is converted to sRGB"
    if counts["deep"] and counts["deep"] == counts["dim"]:
        yield (
            f"{of_which}{counts['deep']:,} of 16 bits, none with a value above {DIM:,} of 65,535, so they come out"
            " nearly black: if they hold fewer bits, scale them to 16 first"
        )
