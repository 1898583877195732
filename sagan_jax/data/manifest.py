"""`dataset.json`, the manifest of a prepared data set: its contents, how it was made, and its hashes."""

import dataclasses
import hashlib
import json
from pathlib import PurePosixPath
from typing import Any

from etils import epath

from sagan_jax.errors import InputError
from sagan_jax.runtime.documents import Count, Name, Text, read_document, with_kind
from sagan_jax.runtime.storage import sha256_of, write_atomic

MANIFEST = "dataset.json"
LABELS = "labels.npy"
UNFINISHED = "unfinished.json"  # present while a data set is being prepared
FORMAT = "sagan_jax images 1"
REMEDY = "prepare the data set again"


@dataclasses.dataclass(frozen=True)
class Shard:
    """An ArrayRecord file of images.

    Attributes:
      file: name.
      images: number of records.
      sha256: of the file.
    """

    file: Name
    images: Count
    sha256: Name


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A prepared data set. Its records are raw uint8 images [resolution, resolution, 3], RGB, row by row.

    Attributes:
      class_names: one per label, in label order; `ONE_CLASS` for images without classes.
      class_counts: images of each class.
      resolution: side in pixels.
      crop, filter: how the images were made square, see `resize.square_rgb`.
      source: folders, archives or TFDS name that the images came from, as given on the command line.
      identity: see `EncodedImages.identity`.
      pillow: version of the library that decoded and resized.
      shards: in order.
      pixels_sha256: of the hashes of all images, in order; independent of the division into shards.
      labels_sha256: of `labels.npy`, [N] int32.
      skipped: (file, reason) of unreadable files.
      enlarged: number of images that were smaller than `resolution`.
      shared_images: sentences on pairs of classes that have images in common.
      notes: sentences on what was left out and converted.
    """

    class_names: tuple[Name, ...]
    class_counts: tuple[Count, ...]
    resolution: Count
    crop: Name
    filter: Name
    source: Text
    identity: Text
    pillow: Name
    shards: tuple[Shard, ...]
    pixels_sha256: Name
    labels_sha256: Name
    skipped: tuple[tuple[Text, Text], ...]
    enlarged: Count
    shared_images: tuple[Text, ...]
    notes: tuple[Text, ...] = ()

    @property
    def num_images(self) -> int:
        """Returns the number of images."""
        return sum(shard.images for shard in self.shards)

    @property
    def content_hash(self) -> str:
        """Returns the SHA-256 of pixels, labels, class names and resolution, which does not depend on the folder."""
        content = json.dumps([self.resolution, self.class_names, self.labels_sha256, self.pixels_sha256])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def file_hashes(self) -> dict[str, str]:
        """Returns the SHA-256 of every file that training reads, by name."""
        return {LABELS: self.labels_sha256} | {shard.file: shard.sha256 for shard in self.shards}

    def write(self, folder: epath.Path) -> None:
        """Writes `dataset.json`, by which the folder counts as a complete data set."""
        summary = {"format": FORMAT, "content_hash": self.content_hash, "num_images": self.num_images}
        values = summary | dataclasses.asdict(self)
        values["checksum"] = _checksum(values)
        write_atomic(folder / MANIFEST, (json.dumps(values, indent=1) + "\n").encode())


def read_manifest(folder: epath.Path) -> Manifest:
    """Reads the manifest of a prepared data set.

    Raises:
      InputError: the folder is missing, unfinished or not a prepared data set, or the manifest was changed.
    """
    try:
        values = read_document(folder / MANIFEST, dict[str, Any], REMEDY)
    except FileNotFoundError as error:
        raise InputError(_why_missing(folder)) from error
    except OSError as error:
        raise InputError(
            f"{folder / MANIFEST} cannot be read ({error.strerror}): give the data set's folder."
        ) from error
    found = values.pop("format", None)
    if found != FORMAT:
        raise InputError(
            f"{folder / MANIFEST} is not of a data set prepared by this version ({FORMAT!r}): make one with"
            f" python -m sagan_jax.prepare --source={folder} --out=ANOTHER_FOLDER --resolution=N."
        )
    manifest = with_kind(values, Manifest, folder / MANIFEST, REMEDY)
    if values.pop("checksum", None) != _checksum({"format": FORMAT} | values):
        raise InputError(f"{folder / MANIFEST} was changed: its checksum does not fit; prepare the data set again.")
    for shard in manifest.shards:
        if PurePosixPath(shard.file).parts != (shard.file,) or shard.file == "..":
            raise InputError(
                f"{folder / MANIFEST} names {shard.file!r}, which is no file of this folder: take the data set from"
                " somebody you trust."
            )
    if len(manifest.class_names) != len(manifest.class_counts) or sum(manifest.class_counts) != manifest.num_images:
        raise InputError(f"{folder / MANIFEST} is damaged (its numbers of images differ): {REMEDY}.")
    return manifest


def damaged_files(folder: epath.Path, manifest: Manifest) -> list[str]:
    """Returns sentences on the files of a data set that are missing or do not have their SHA-256."""
    wrong = []
    for name, sha256 in manifest.file_hashes.items():
        if not (folder / name).exists():
            wrong.append(f"{folder / name} is missing")
        elif sha256_of(folder / name) != sha256:
            wrong.append(f"{folder / name} is damaged: its SHA-256 is not that of {MANIFEST}")
    return wrong


def _checksum(values: dict[str, Any]) -> str:
    """Returns the SHA-256 of everything in a manifest but the checksum itself."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _why_missing(folder: epath.Path) -> str:
    if (folder / UNFINISHED).exists():
        return f"{folder} is only half prepared: run the same python -m sagan_jax.prepare command again to finish it."
    what = "is no prepared data set (it has no dataset.json)" if folder.exists() else "does not exist"
    return (
        f"{folder} {what}: make it with python -m sagan_jax.prepare --source=YOUR_IMAGES --out={folder} --resolution=N."
    )
