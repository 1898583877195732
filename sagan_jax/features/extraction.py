"""Extracts the features of images by a network on all devices, and their moments."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np
from jax.sharding import Mesh

from sagan_jax.errors import InputError
from sagan_jax.features.extractor import Extractor
from sagan_jax.metrics import neighbours
from sagan_jax.metrics.label_accuracy import LinearClassifier, held_out_accuracy
from sagan_jax.metrics.moments import Moments, merged, moments_of
from sagan_jax.runtime.image_counter import ImageCounter
from sagan_jax.runtime.sharding import image_sharding, put_global, replicated

MOMENTS_ROWS = 4096  # features per sum, which are copied to float64


@dataclasses.dataclass(frozen=True)
class FeatureSet:
    """The features of a set of images; what derives from them is computed on first use and cached.

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

    @functools.cached_property
    def classifier(self) -> LinearClassifier:
        """Returns a linear classifier of the labels by the features."""
        return LinearClassifier(self.features, self.labels)

    @functools.cached_property
    def held_out_accuracy(self) -> float:
        """Returns the `held_out_accuracy` of such a classifier."""
        return held_out_accuracy(self.features, self.labels)

    @functools.cached_property
    def squared_radii(self) -> Callable[[int, tuple[int, ...]], np.ndarray]:
        """Returns a cached function (count, ks) -> `neighbours.squared_radii` of the first `count` features."""
        return functools.cache(lambda count, ks: neighbours.squared_radii(self.features[:count], ks))


def in_memory(shape: tuple[int, int]) -> np.ndarray:
    """Allocates features in memory."""
    return np.empty(shape, np.float32)


def extract_features(
    extractor: Extractor,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    num_images: int,
    title: str,
    mesh: Mesh,
    *,
    allocate: Callable[[tuple[int, int]], np.ndarray] = in_memory,
    keep_logits: bool = True,
) -> FeatureSet:
    """Computes the features of images.

    Args:
      extractor: the network.
      batches: images [n, H, W, 3] uint8 and labels [n], n the same for all but the last.
      num_images: number of images in all batches, at least 1.
      title: of the images, for the display of progress.
      mesh: the devices, over which each batch is sharded.
      allocate: makes the array [N, D] float32 for the features, such as one mapped from a file.
      keep_logits: whether to keep the logits; those of a million images take gigabytes.

    Raises:
      InputError: the images do not have the size that the network takes, or a feature is not finite.
    """
    features: np.ndarray | None = None
    labels = np.empty(num_images, np.int32)
    logits: list[np.ndarray] = []
    moments, spatial = _RunningMoments(), _RunningMoments()
    done = 0
    with ImageCounter(title, num_images) as counter:
        for outputs, batch_labels in _outputs(extractor, batches, mesh):
            rows = slice(done, done + len(batch_labels))
            if not all(np.isfinite(values).all() for values in outputs.values()):
                raise InputError(
                    f"the features of images {rows.start} to {rows.stop - 1} ({title}) are not finite: the weights of"
                    f" {extractor.name} ({extractor.facts['weights']}) do not fit."
                )
            if features is None:
                features = allocate((num_images, outputs["features"].shape[1]))
            features[rows], labels[rows] = outputs["features"], batch_labels
            moments.add(outputs["features"])
            if "spatial" in outputs:
                spatial.add(outputs["spatial"])
            if keep_logits and "logits" in outputs:
                logits.append(outputs["logits"])
            done = rows.stop
            counter.show(done)
    assert features is not None
    assert done == num_images
    whole = moments.total()
    assert whole is not None
    return FeatureSet(features, labels, whole, spatial.total(), np.concatenate(logits) if logits else None)


class _RunningMoments:
    """Moments of rows [n, D] that arrive in batches; MOMENTS_ROWS rows are summed at a time."""

    def __init__(self) -> None:
        self._waiting: list[np.ndarray] = []
        self._moments: Moments | None = None

    def add(self, rows: np.ndarray) -> None:
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= MOMENTS_ROWS:
            self.total()

    def total(self) -> Moments | None:
        """Returns the moments of all rows so far, or None before the first."""
        if self._waiting:
            part = moments_of(np.concatenate(self._waiting))
            self._moments = part if self._moments is None else merged([self._moments, part])
            self._waiting = []
        return self._moments


def _outputs(
    extractor: Extractor, batches: Iterable[tuple[np.ndarray, np.ndarray]], mesh: Mesh
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Yields the outputs of the network and the labels of each batch; one program at a time, see `Sampler.freeze`."""
    whole, sharded = replicated(mesh), image_sharding(mesh)
    function = jax.jit(extractor.function, in_shardings=(whole, sharded), out_shardings=whole)
    variables, size = put_global(whole, extractor.variables), 0
    for images, labels in batches:
        _check_side(extractor, images)
        size = size or -(-len(images) // mesh.devices.size) * mesh.devices.size
        outputs = jax.device_get(function(variables, put_global(sharded, images[np.arange(size) % len(images)])))
        yield {name: values[: len(labels)] for name, values in outputs.items()}, labels


def _check_side(extractor: Extractor, images: np.ndarray) -> None:
    if extractor.side and images.shape[1:3] != (extractor.side, extractor.side):
        raise InputError(
            f"{extractor.name} takes images of {extractor.side}x{extractor.side} pixels, not"
            f" {images.shape[1]}x{images.shape[2]}: use inception2015, which takes any."
        )
