"""Features of real images, computed once per content, network and number, and kept on disk."""

import hashlib
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from sagan_jax.data.source import ImageSource
from sagan_jax.errors import InputError
from sagan_jax.evaluation.image_sets import random_order, read_batches
from sagan_jax.features.extraction import FeatureSet, extract_features
from sagan_jax.features.extractor import Extractor
from sagan_jax.metrics.frechet import Statistics
from sagan_jax.metrics.moments import Moments
from sagan_jax.runtime.storage import require_space, write_whole

ARRAYS = ("features", "labels")
FORMAT = 1  # rises when the same images would give other features, or other files


def reference_features(
    extractor: Extractor, source: ImageSource, count: int | None, batch_size: int, cache_dir: str, mesh: Mesh
) -> FeatureSet:
    """The features of `count` random real images, or of all, in the order of `random_order`.

    Args:
      extractor: the network.
      source: the real images.
      count: number of images, None: all.
      batch_size: images per call.
      cache_dir: where features are kept; empty: ~/.cache/sagan_jax.
      mesh: the devices.
    """
    indices = random_order(source, count)
    identity = json.dumps([FORMAT, extractor.name, extractor.facts, source.content_hash(), len(indices)])
    cache = Path(cache_dir or "~/.cache/sagan_jax").expanduser() / "features"
    folder = cache / hashlib.sha256(identity.encode()).hexdigest()[:32]
    if folder.exists():
        try:
            return _load(folder)
        except (OSError, ValueError, KeyError):
            print(f"note: {folder} is damaged; the features are computed again", flush=True)
            shutil.rmtree(folder)
    batches = read_batches(source, indices, batch_size)
    features = extract_features(extractor, batches, len(indices), f"features of {source.name}", mesh)
    try:
        _save(folder, features, identity)
    except (OSError, InputError) as error:
        print(f"note: the features of {source.name} are not kept for the next time ({error})", flush=True)
    return features


def _load(folder: Path) -> FeatureSet:
    features, labels = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
    with np.load(folder / "moments.npz") as stored:
        moments = Moments(len(features), stored["mean"], stored["scatter"])
        spatial = None
        if "spatial_mean" in stored:
            spatial = Moments(len(features), stored["spatial_mean"], stored["spatial_scatter"])
    return FeatureSet(features, np.asarray(labels), moments, spatial)


def _save(folder: Path, features: FeatureSet, identity: str) -> None:
    """Writes the folder under another name first, so that it is there as a whole or not at all."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    try:
        require_space(partial, features.features.nbytes + 2 * features.moments.scatter.nbytes, "the cache of features")
        moments = {"mean": features.moments.mean, "scatter": features.moments.scatter}
        if features.spatial is not None:
            moments |= {"spatial_mean": features.spatial.mean, "spatial_scatter": features.spatial.scatter}
        for name in ARRAYS:
            np.save(partial / f"{name}.npy", getattr(features, name))
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **moments)
        write_whole(partial / "moments.npz", buffer.getvalue())
        write_whole(partial / "about.json", identity.encode())
        if not folder.exists():  # another process may have been faster
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_statistics(path: Path) -> Statistics | None:
    """Mean and covariance from an .npz of other programs ("mu" and "sigma"), or None if it holds neither.

    Raises:
      InputError: they are not those of a Gaussian.
    """
    with np.load(path, allow_pickle=False) as stored:
        if not {"mu", "sigma"} <= set(stored):
            return None
        mean, covariance = (np.asarray(stored[name], np.float64) for name in ("mu", "sigma"))
    if covariance.shape != (*mean.shape, *mean.shape) or mean.ndim != 1 or not np.isfinite(covariance).all():
        raise InputError(
            f"{path} has mu of shape {mean.shape} and sigma of shape {covariance.shape}: they must be finite, [D] and"
            " [D, D]."
        )
    return Statistics(mean, covariance)
