"""Verifies and shows a prepared data set: is it complete, and do images and class names belong together?"""

from collections.abc import Iterator

import numpy as np
from etils import epath
from PIL import Image

from sagan_jax.data.manifest import Manifest, damaged_files
from sagan_jax.data.overview import class_examples, class_table, shortened
from sagan_jax.data.prepared import PreparedImages
from sagan_jax.data.resize import square_rgb
from sagan_jax.errors import InputError
from sagan_jax.runtime.pictures import encoded_png, sample_sheet
from sagan_jax.runtime.storage import format_bytes, write_atomic

CLASS_TABLE = "classes.txt"
ROWS = 50  # classes on one contact sheet
COLUMNS = 10  # images of each class
SMALL_TILE = 64  # pixels of an image where there are several sheets
MANY_ENLARGED = 0.1  # fraction of the images from which on a lower resolution is suggested
LOWEST = 16  # pixels, of what can be prepared
IMBALANCE = 10  # ratio of the largest to the smallest class from which on a remark is made


def verify(folder: epath.Path, manifest: Manifest) -> None:
    """Raises InputError, naming each missing or damaged file, unless every file has its SHA-256."""
    damaged = damaged_files(folder, manifest)
    if damaged:
        raise InputError("; ".join(damaged) + ": prepare the data set again, or copy these files again.")


def describe(folder: epath.Path, manifest: Manifest) -> None:
    """Prints the manifest, the class table and remarks."""
    size = manifest.num_images * manifest.resolution**2 * 3
    print(f"data set    {manifest.content_hash}")
    print(f"made of     {manifest.source}, {manifest.crop} crop, {manifest.filter} filter, Pillow {manifest.pillow}")
    print(
        f"images      {manifest.num_images:,} of {manifest.resolution} px, {format_bytes(size)}, {_classes(manifest)}"
    )
    print()
    table = class_table(manifest.class_names, manifest.class_counts)
    print("\n".join(shortened(table, str(folder / CLASS_TABLE))))
    print()
    for remark in remarks(manifest):
        print(f"note: {remark}")


def remarks(manifest: Manifest) -> Iterator[str]:
    """Yields sentences on what may be wrong with the images."""
    if manifest.skipped:
        name, reason = manifest.skipped[0]
        yield f"{len(manifest.skipped):,} unreadable files were left out, such as {name} ({reason})"
    yield from manifest.notes
    yield from manifest.shared_images
    if manifest.enlarged:
        yield _remark_on_enlarged(manifest)
    empty = [name for name, count in zip(manifest.class_names, manifest.class_counts, strict=True) if not count]
    if empty:
        yield f"{len(empty):,} of {_classes(manifest)} have no image, such as {empty[0]}"
    smallest, largest = min(filter(None, manifest.class_counts)), max(manifest.class_counts)
    if largest >= IMBALANCE * smallest:
        yield (
            f"classes have {smallest:,} to {largest:,} images: consider data.class_sampling=empirical, or"
            " data.real_class_sampling=uniform"
        )


def _remark_on_enlarged(manifest: Manifest) -> str:
    found = (
        f"{manifest.enlarged:,} of {manifest.num_images:,} images were smaller than {manifest.resolution} px and were"
        " enlarged, which blurs them: "
    )
    lower = manifest.resolution // 2
    if manifest.enlarged >= MANY_ENLARGED * manifest.num_images and lower >= LOWEST:
        return f"{found}consider --resolution={lower}"
    return f"{found}consider leaving them out"


def save_overview(folder: epath.Path, manifest: Manifest) -> list[epath.Path]:
    """Writes the class table and the contact sheets into the data set's folder; returns the sheets.

    Raises:
      InputError: the folder cannot be written to.
    """
    table = "\n".join(class_table(manifest.class_names, manifest.class_counts)) + "\n"
    source = PreparedImages(folder, manifest)
    try:
        write_atomic(folder / CLASS_TABLE, table.encode())
        paths = []
        for page, picture in enumerate(contact_sheets(source), start=1):
            paths.append(folder / ("contact_sheet.png" if page == 1 else f"contact_sheet_{page}.png"))
            write_atomic(paths[-1], encoded_png(picture))
    except OSError as error:
        raise InputError(f"{folder} cannot be written to ({error}): copy it to where it can.") from error
    return paths


def contact_sheets(source: PreparedImages) -> Iterator[np.ndarray]:
    """Yields pictures [height, width, 3] uint8 of COLUMNS images of each class, ROWS classes in a picture."""
    manifest = source.manifest
    pages = [
        range(first, min(first + ROWS, len(manifest.class_names)))
        for first in range(0, len(manifest.class_names), ROWS)
    ]
    for page, classes in enumerate(pages, start=1):
        images = class_examples(source, classes, COLUMNS)
        if len(pages) > 1 and manifest.resolution > SMALL_TILE:
            images = np.stack([[square_rgb(Image.fromarray(image), SMALL_TILE) for image in row] for row in images])
        names = [f"{label} {manifest.class_names[label]}" for label in classes]
        title = f"{manifest.num_images:,} images, {_classes(manifest)}, {manifest.content_hash[:12]}"
        yield sample_sheet(images, names, title + (f" · sheet {page} of {len(pages)}" if len(pages) > 1 else ""))


def _classes(manifest: Manifest) -> str:
    count = len(manifest.class_names)
    return f"{count:,} classes" if count > 1 else "no classes"
