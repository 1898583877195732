"""Passes images through a feature network on all devices and keeps what the metrics need."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sagan_jax.errors import InputError
from sagan_jax.features.extractor import Extractor
from sagan_jax.metrics.moments import Moments, merged, moments_of
from sagan_jax.runtime.image_counter import ImageCounter
from sagan_jax.runtime.sharding import image_sharding, replicated

MOMENTS_ROWS = 4096  # features per partial sum; float64 copies of so many at a time


@dataclasses.dataclass(frozen=True)
class FeatureSet:
    """What is known of a set of images.

    Attributes:
      features: [N, D] float32; may be mapped from a file.
      labels: [N] int32; all 0 where there are no classes.
      moments: of the features.
      spatial: moments of the spatial features, or None.
      logits: [N, K] float32 of a classifier, or None.
    """

    features: np.ndarray
    labels: np.ndarray
    moments: Moments
    spatial: Moments | None = None
    logits: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.features)


def extract_features(
    extractor: Extractor, batches: Iterable[tuple[np.ndarray, np.ndarray]], count: int, title: str, mesh: Mesh
) -> FeatureSet:
    """The features of images.

    Args:
      extractor: the network.
      batches: images [n, H, W, 3] uint8 and labels [n], n the same for all but the last.
      count: images in all, at least 1.
      title: what the images are, for the display of progress.
      mesh: the devices, which share each batch.

    Raises:
      InputError: the images do not have the size that the network wants, or a feature is not finite.
    """
    kept: dict[str, list[np.ndarray]] = {"features": [], "labels": [], "logits": []}
    spatial: Moments | None = None
    done = 0
    with ImageCounter(title, count) as counter:
        for outputs, labels in _outputs(extractor, batches, mesh):
            if not all(np.isfinite(values).all() for values in outputs.values()):
                raise InputError(
                    f"the features of images {done} to {done + len(labels) - 1} ({title}) are not finite: the weights"
                    f" of {extractor.name} ({extractor.facts['weights']}) do not fit."
                )
            if "spatial" in outputs:
                part = moments_of(outputs.pop("spatial"))
                spatial = part if spatial is None else merged([spatial, part])
            for name, values in (outputs | {"labels": labels}).items():
                kept[name].append(values)
            done += len(labels)
            counter.show(done)
    features = np.concatenate(kept["features"])
    logits = np.concatenate(kept["logits"]) if kept["logits"] else None
    return FeatureSet(features, np.concatenate(kept["labels"]), moments_in_pieces(features), spatial, logits)


def moments_in_pieces(features: np.ndarray) -> Moments:
    """The moments of features [N, D], with float64 copies of a few rows at a time."""
    return merged(moments_of(features[start : start + MOMENTS_ROWS]) for start in range(0, len(features), MOMENTS_ROWS))


def _outputs(
    extractor: Extractor, batches: Iterable[tuple[np.ndarray, np.ndarray]], mesh: Mesh
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Outputs of the network and labels, batch by batch; the devices work while the next batch is made."""
    whole, spread = replicated(mesh), image_sharding(mesh)
    function = jax.jit(extractor.function, in_shardings=(whole, spread), out_shardings=whole)
    variables, size, waiting = jax.device_put(extractor.variables, whole), 0, None
    for images, labels in batches:
        _check_side(extractor, images)
        size = size or -(-len(images) // mesh.devices.size) * mesh.devices.size
        running = function(variables, images[np.arange(size) % len(images)]), labels
        if waiting:
            yield _fetched(*waiting)
        waiting = running
    if waiting:
        yield _fetched(*waiting)


def _fetched(outputs: Any, labels: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    return {name: np.asarray(values)[: len(labels)] for name, values in outputs.items()}, labels


def _check_side(extractor: Extractor, images: np.ndarray) -> None:
    if extractor.side and images.shape[1:3] != (extractor.side, extractor.side):
        raise InputError(
            f"{extractor.name} takes images of {extractor.side}x{extractor.side} pixels, not"
            f" {images.shape[1]}x{images.shape[2]}: use inception2015, which takes any."
        )
