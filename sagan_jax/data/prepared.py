"""Prepared data sets: fixed-size uint8 images in ArrayRecord shards, read by random access."""

import functools
import io
import os
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader
from etils import epath

from sagan_jax.data.manifest import LABELS, Manifest, read_manifest
from sagan_jax.data.source import ImageSource
from sagan_jax.errors import InputError
from sagan_jax.runtime.storage import local_copy, sha256_of
from sagan_jax.runtime.user_paths import local_path, user_path

# Every read is of single images in random order: threads or read-ahead of the reader would not help.
READER_OPTIONS = "max_parallelism:1,readahead_buffer_size:0"


def open_prepared(path: str, resolution: int, cache_dir: str = "") -> "PreparedImages":
    """Opens a prepared data set.

    Args:
      path: folder; one in a bucket is copied to the cache first.
      resolution: side in pixels that the run expects.
      cache_dir: for copies; empty: ~/.cache/sagan_jax.

    Raises:
      InputError: there is no complete data set of this resolution.
    """
    folder = user_path(path)
    try:
        manifest = read_manifest(folder)
    except InputError as error:
        raise InputError(f": {error}", field="data.source", value=f"prepared:{path}") from error
    if manifest.resolution != resolution:
        wrong = f", but {path} was prepared at {manifest.resolution} px"
        remedy = f"set it to {manifest.resolution}, or prepare the images again with --resolution={resolution}"
        raise InputError(wrong, field="data.resolution", value=resolution, remedy=remedy)
    return PreparedImages(folder, manifest, cache_dir)


class PreparedImages(ImageSource):
    """An `ImageSource` over a data set written by `python -m sagan_jax.prepare`.

    Args:
      folder, manifest: of the data set.
      cache_dir: see `open_prepared`.

    Raises:
      InputError: the labels, or a file in a bucket, are missing or damaged.
    """

    labels: np.ndarray

    def __init__(self, folder: epath.Path, manifest: Manifest, cache_dir: str = ""):
        self.manifest = manifest
        self.name = f"prepared:{manifest.content_hash[:12]}"
        self.class_names, self.remarks = manifest.class_names, manifest.notes
        self.folder = local_copy(folder, manifest.file_hashes, _cache_folder(cache_dir, manifest))
        self.labels = _read_labels(self.folder, manifest)
        self._first = np.cumsum([0] + [shard.images for shard in manifest.shards])
        # Shards are opened when first read, since a large data set has a hundred.
        self._reader = functools.cache(self._open_shard)

    def __len__(self) -> int:
        return self.manifest.num_images

    def load(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ImageSource.load`. Raises InputError, naming the shard, if its bytes are damaged."""
        side = self.manifest.resolution
        images = np.empty((len(indices), side * side * 3), np.uint8)
        shards = np.searchsorted(self._first, indices, side="right") - 1
        for shard in np.unique(shards):
            rows = np.flatnonzero(shards == shard)
            try:
                records = self._reader(shard).read((indices[rows] - self._first[shard]).tolist())
                for row, record in zip(rows, records, strict=True):
                    images[row] = np.frombuffer(record, np.uint8)
            except (ValueError, RuntimeError, IndexError) as error:
                raise InputError(self._damaged(shard, error)) from error
        return images.reshape(-1, side, side, 3), self.labels[indices]

    def content_hash(self) -> str:
        """See `ImageSource.content_hash`; from the manifest, without reading images."""
        return self.manifest.content_hash

    def _open_shard(self, shard: int) -> ArrayRecordReader:
        return ArrayRecordReader(os.fspath(self.folder / self.manifest.shards[shard].file), options=READER_OPTIONS)

    def _damaged(self, shard: int, error: Exception) -> str:
        reason = str(error).partition("\n")[0]
        return (
            f"{self.folder / self.manifest.shards[shard].file} is damaged ({reason}): see all damage with"
            f" python -m sagan_jax.prepare --inspect {self.folder}, then prepare the data set again."
        )


def _cache_folder(cache_dir: str, manifest: Manifest) -> Path:
    return local_path(cache_dir or "~/.cache/sagan_jax") / manifest.content_hash


def _read_labels(folder: Path, manifest: Manifest) -> np.ndarray:
    file = folder / LABELS
    try:
        sound = sha256_of(file) == manifest.labels_sha256
    except OSError:
        sound = False
    if not sound:
        raise InputError(f"{file} is missing or damaged: prepare the data set again.")
    return np.load(io.BytesIO(file.read_bytes()))
