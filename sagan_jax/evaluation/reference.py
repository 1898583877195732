"""Features of real images, cached on disk by content, network and number of images."""

import contextlib
import functools
import hashlib
import io
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from sagan_jax.data.pipeline import read_batches
from sagan_jax.data.source import ImageSource
from sagan_jax.errors import InputError
from sagan_jax.evaluation.image_sets import random_order
from sagan_jax.features.extraction import FeatureSet, extract_features, in_memory
from sagan_jax.features.extractor import Extractor
from sagan_jax.metrics.frechet import Statistics
from sagan_jax.metrics.moments import Moments
from sagan_jax.runtime.processes import all_hosts, is_host0
from sagan_jax.runtime.storage import write_atomic
from sagan_jax.runtime.user_paths import local_path

FORMAT = 1  # to be raised when the same images give other features, or when the files change


def reference_features(
    extractor: Extractor, source: ImageSource, count: int | None, batch_size: int, cache_dir: str, mesh: Mesh
) -> FeatureSet:
    """Computes the features of real images in `random_order`, or reads them from the cache.

    Args:
      extractor: the network.
      source: the real images.
      count: number of images; None: all.
      batch_size: images per call.
      cache_dir: folder of the cache; empty: ~/.cache/sagan_jax.
      mesh: the devices.
    """
    indices = random_order(source, count)
    identity = json.dumps([FORMAT, extractor.name, extractor.facts, source.content_hash(), len(indices)])
    cache = local_path(cache_dir or "~/.cache/sagan_jax") / "features"
    folder = cache / hashlib.sha256(identity.encode()).hexdigest()[:32]
    cached = _load_sound(folder, len(indices)) if folder.exists() else None
    if all_hosts(cached is not None):  # computing them takes all hosts
        assert cached is not None
        return cached
    prefix = f".{folder.name}.{socket.gethostname()}"  # other machines may share the disk
    _remove_abandoned(folder.parent, prefix)
    partial = folder.with_name(f"{prefix}.{os.getpid()}.partial")
    try:
        batches, title = read_batches(source, indices, batch_size), f"features of {source.name}"
        features = extract_features(
            extractor,
            batches,
            len(indices),
            title,
            mesh,
            allocate=functools.partial(_on_disk, partial / "features.npy") if is_host0() else in_memory,
            keep_logits=False,
        )
        if isinstance(features.features, np.memmap):
            with _errors_as_notes():
                features.features.flush()
                _publish(partial, folder, features, identity)
        return features
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_abandoned(cache: Path, prefix: str) -> None:
    """Removes the partial folders of processes of this machine that no longer run."""
    for partial in cache.glob(f"{prefix}.*.partial"):
        if not _is_running(partial.suffixes[-2][1:]):
            shutil.rmtree(partial, ignore_errors=True)


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)  # signal 0 only checks for existence
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _on_disk(file: Path, shape: tuple[int, int]) -> np.ndarray:
    """Maps an array [N, D] float32 from a new file, or allocates it in memory if the file cannot be written."""
    with _errors_as_notes():
        file.parent.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
        if hasattr(os, "posix_fallocate"):  # not on macOS
            with file.open("rb+") as handle:  # on a full disk, writing to a page without space kills the process
                os.posix_fallocate(handle.fileno(), 0, file.stat().st_size)
        return array
    return in_memory(shape)


@contextlib.contextmanager
def _errors_as_notes() -> Iterator[None]:
    """Prints errors of the cache, which must not end an evaluation."""
    try:
        yield
    except OSError as error:
        print(f"note: the features are not kept for the next time ({error})", flush=True)


def _load_sound(folder: Path, num_images: int) -> FeatureSet | None:
    try:
        return _load(folder, num_images)
    except Exception:  # readers raise many kinds of exceptions on damaged files
        print(f"note: {folder} is damaged; the features are computed again", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _load(folder: Path, num_images: int) -> FeatureSet:
    features, labels = np.load(folder / "features.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    with np.load(folder / "moments.npz") as stored:
        moments = Moments(len(features), stored["mean"], stored["scatter"])
        spatial = None
        if "spatial_mean" in stored:
            spatial = Moments(len(features), stored["spatial_mean"], stored["spatial_scatter"])
    if not features.shape == (num_images, len(moments.mean)) or labels.shape != (num_images,):
        raise ValueError("files that do not belong together")
    return FeatureSet(features, labels, moments, spatial)


def _publish(partial: Path, folder: Path, features: FeatureSet, identity: str) -> None:
    """Completes the folder `partial` and renames it to `folder`, so that this is complete or absent."""
    buffer = io.BytesIO()
    np.save(buffer, features.labels)
    write_atomic(partial / "labels.npy", buffer.getvalue())
    moments = {"mean": features.moments.mean, "scatter": features.moments.scatter}
    if features.spatial is not None:
        moments |= {"spatial_mean": features.spatial.mean, "spatial_scatter": features.spatial.scatter}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **moments)
    write_atomic(partial / "moments.npz", buffer.getvalue())
    write_atomic(partial / "about.json", identity.encode())
    if not folder.exists():  # another process may have been faster
        partial.rename(folder)


def read_statistics(path: Path) -> Statistics | None:
    """Reads mean and covariance ("mu" and "sigma") from an .npz of another program; None if it has no such arrays.

    Raises:
      InputError: the file is missing or damaged, or the arrays are not mean and covariance of a Gaussian.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            if not {"mu", "sigma"} <= set(stored):
                return None
            mean, covariance = (np.asarray(stored[name], np.float64) for name in ("mu", "sigma"))
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}: give the path of an .npz of images or statistics.") from error
    except Exception as error:  # zipfile, zlib and numpy have each errors of their own
        raise InputError(f"{path} is damaged ({error}): write it again.") from error
    if (
        covariance.shape != (*mean.shape, *mean.shape)
        or mean.ndim != 1
        or not np.isfinite([*mean, *covariance.flat]).all()
    ):
        raise InputError(
            f"{path} has mu of shape {mean.shape} and sigma of shape {covariance.shape}: they must be finite, [D] and"
            " [D, D]."
        )
    lowest, *_, highest = np.linalg.eigvalsh(covariance)
    if not np.allclose(covariance, covariance.T) or lowest < -1e-6 * abs(highest):
        raise InputError(f"{path} has a sigma that is no covariance: it must be symmetric and positive.")
    return Statistics(mean, covariance)
