"""Passes images through a feature network on all devices and keeps what the metrics need."""

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

MOMENTS_ROWS = 4096  # features per sum, of which there are float64 copies for a moment


@dataclasses.dataclass(frozen=True)
class FeatureSet:
    """What is known of a set of images; what follows from it is computed when first asked for, and kept.

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
        """Of the labels, learnt from the features."""
        return LinearClassifier(self.features, self.labels)

    @functools.cached_property
    def held_out_accuracy(self) -> float:
        """Of such a classifier, see there."""
        return held_out_accuracy(self.features, self.labels)

    @functools.cached_property
    def squared_radii(self) -> Callable[[int, tuple[int, ...]], np.ndarray]:
        """`neighbours.squared_radii` among the first so many features, for some ks."""
        return functools.cache(lambda count, ks: neighbours.squared_radii(self.features[:count], ks))


def in_memory(shape: tuple[int, int]) -> np.ndarray:
    """Where features go if nothing else is said."""
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
    """The features of images.

    Args:
      extractor: the network.
      batches: images [n, H, W, 3] uint8 and labels [n], n the same for all but the last.
      num_images: in all, at least 1.
      title: what the images are, for the display of progress.
      mesh: the devices, which share each batch.
      allocate: makes the array [N, D] that the features are written to, such as a file.
      keep_logits: whether the logits are wanted; those of a million images take gigabytes.

    Raises:
      InputError: the images do not have the size that the network wants, or a feature is not finite.
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
    """Moments of rows that come in batches, a sum for so many rows at a time."""

    def __init__(self) -> None:
        self._waiting: list[np.ndarray] = []
        self._moments: Moments | None = None

    def add(self, rows: np.ndarray) -> None:
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= MOMENTS_ROWS:
            self.total()

    def total(self) -> Moments | None:
        """The moments of all rows so far, or None before the first."""
        if self._waiting:
            part = moments_of(np.concatenate(self._waiting))
            self._moments = part if self._moments is None else merged([self._moments, part])
            self._waiting = []
        return self._moments


def _outputs(
    extractor: Extractor, batches: Iterable[tuple[np.ndarray, np.ndarray]], mesh: Mesh
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Outputs of the network and labels, batch by batch; one at a time, see `Sampler.freeze`."""
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
