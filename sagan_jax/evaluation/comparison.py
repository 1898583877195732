"""Compares generated with real images: features, scores, classes, and the nearest real images of some samples."""

import time
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from sagan_jax.data.encoded import Decoded
from sagan_jax.data.pipeline import read_batches
from sagan_jax.data.prepared import PreparedImages
from sagan_jax.data.source import ImageSource
from sagan_jax.errors import InputError
from sagan_jax.evaluation.image_sets import NumberedImages, random_order
from sagan_jax.evaluation.record import Evaluation
from sagan_jax.evaluation.reference import reference_features
from sagan_jax.evaluation.scores import scores_of
from sagan_jax.evaluation.warnings import warnings_of
from sagan_jax.features.extraction import FeatureSet, extract_features
from sagan_jax.features.extractor import Extractor, open_extractor
from sagan_jax.metrics.frechet import Statistics
from sagan_jax.metrics.neighbours import nearest, squared_radii
from sagan_jax.runtime.pictures import sample_sheet

NEIGHBOURS, SHOWN_SAMPLES = 7, 8
MAX_SPACING_IMAGES = 5_000  # real images whose distances from each other set the unit

ANY_SIDE = 64  # of an image, where features do not depend on it

Batches = Iterator[tuple[np.ndarray, np.ndarray]]


class Generated(NamedTuple):
    """Generated images.

    Attributes:
      batches: returns an iterator over images [n, H, W, 3] uint8 and labels [n], the same at each call.
      num_images: number of images.
      facts: origin of the images, for the protocol.
      labelled: whether the labels are those of the real images' classes.
    """

    batches: Callable[[], Batches]
    num_images: int
    facts: dict[str, Any]
    labelled: bool


class Real(NamedTuple):
    """Real images and their features.

    Attributes:
      source: the images, or None if only statistics are known.
      features: of the images, or their statistics.
      facts: origin of the images, for the protocol.
    """

    source: ImageSource | None
    features: FeatureSet | Statistics
    facts: dict[str, Any]


def extractor_for(name: str, weights: str, resize: str, source: ImageSource | None) -> Extractor:
    """Opens a feature network, see `open_extractor`; the source has the images to train a classifier on."""
    if source is None and name == "classifier":
        raise InputError("the feature network classifier learns from real images, not from their statistics.")

    def real(count: int) -> tuple[np.ndarray, np.ndarray]:
        assert source is not None
        return source.load(random_order(source, count))

    return open_extractor(name, weights, resize, real, len(source.class_names) if source else 0)


def check_counts(real: ImageSource | None, generated: Generated) -> None:
    """Raises InputError where one side is a single image; to be called before anything is computed."""
    if generated.num_images < 2:
        raise InputError("a single generated image has no distribution: give at least 2, better thousands.")
    if real is not None:
        check_is_several(real)


def check_is_several(source: ImageSource) -> None:
    """Raises InputError for real images of which there is one."""
    if len(source) < 2:
        raise InputError(f"{source.name} has a single image, which has no distribution: give more real images.")


def check_dimensions(extractor: Extractor, statistics: Statistics) -> None:
    """Raises InputError where the statistics are of other features; to be called before any are computed."""
    side = extractor.side or ANY_SIDE
    image = jax.ShapeDtypeStruct((1, side, side, 3), np.uint8)
    (dimensions,) = jax.eval_shape(extractor.function, extractor.variables, image)["features"].shape[1:]
    if len(statistics.mean) != dimensions:
        raise InputError(
            f"the real statistics have {len(statistics.mean)} dimensions, but {extractor.name} gives {dimensions}:"
            " choose the features that they were made with."
        )


def real_images(
    extractor: Extractor, source: ImageSource, count: int | None, batch_size: int, cache_dir: str, mesh: Mesh
) -> Real:
    """Computes or reads the features of real images, see `reference_features`."""
    check_is_several(source)
    features = reference_features(extractor, source, count, batch_size, cache_dir, mesh)
    facts = {"data": source.name, "images": len(features), "of": len(source), "sha256": source.content_hash()}
    if isinstance(source, PreparedImages):
        manifest = source.manifest
        facts |= {"made_of": manifest.source, "crop": manifest.crop, "filter": manifest.filter}
    elif isinstance(source, Decoded):
        facts |= {"crop": "center", "filter": "lanczos"}  # the defaults of `square_rgb`
    return Real(source, features, facts)


def compare(extractor: Extractor, real: Real, generated: Generated, mesh: Mesh) -> tuple[Evaluation, FeatureSet]:
    """Passes the generated images through the network and scores them; returns also their features.

    Raises:
      InputError: real and generated features have different dimensions, or features are not finite.
    """
    check_counts(real.source, generated)
    if isinstance(real.features, Statistics):
        check_dimensions(extractor, real.features)
    start = time.perf_counter()
    title = f"{generated.num_images:,} generated images"
    fake = extract_features(extractor, generated.batches(), generated.num_images, title, mesh)
    extracted = time.perf_counter()
    class_names = real.source.class_names if real.source and generated.labelled else ()
    scores = tuple(scores_of(extractor, real.features, fake, classes=len(class_names) > 1))
    seconds = {"images and features": extracted - start, "scores": time.perf_counter() - extracted}
    protocol = {
        "generated": {"images": generated.num_images} | generated.facts,
        "real": real.facts,
        "features": {"network": extractor.name, "dimensions": fake.features.shape[1]} | extractor.facts,
    }
    return Evaluation(scores, protocol, tuple(warnings_of(extractor, real.features, fake, class_names)), seconds), fake


def samples_of(source: ImageSource, real: ImageSource | None, batch_size: int) -> Generated:
    """Returns another tool's samples, with labels if both sides have classes.

    Raises:
      InputError: a class of the samples is not among the real ones.
    """
    label_map = _label_map(source, real.class_names) if real else None
    indices = random_order(source, None)  # the splits of the Inception Score must not be sorted by class

    def batches() -> Batches:
        for images, labels in read_batches(source, indices, batch_size):
            yield images, labels if label_map is None else label_map[labels]

    facts = {"data": source.name, "sha256": source.content_hash()}
    return Generated(batches, len(source), facts, labelled=label_map is not None)


def _label_map(source: ImageSource, real_names: tuple[str, ...]) -> np.ndarray | None:
    """Returns the real label [K] int32 of each label, or None if one of the sides has no classes.

    Classes are matched by name. Labels without names (`NumberedImages`), and folders called 0, 1, ..., are matched with
    real classes called by numbers by the number, and are taken for labels where no real class has a number for a name.

    Raises:
      InputError: a class of the samples is not among the real ones, or numbers could mean either.
    """
    names: list[Any] = [_key(name) for name in source.class_names]
    if min(len(names), len(real_names)) < 2:
        return None
    label_of: dict[Any, int] = {_key(name): label for label, name in enumerate(real_names)}
    if all(name.isdecimal() for name in names):
        by_number = {int(name): label for name, label in label_of.items() if name.isdecimal()}
        if not by_number:
            by_number = {label: label for label in range(len(real_names))}
        if len(by_number) == len(real_names):
            label_of, names = by_number, [int(name) for name in names]
        elif isinstance(source, NumberedImages):
            shown = ", ".join(real_names[:10]) + (", ..." if len(real_names) > 10 else "")
            raise InputError(
                f"{source.name} has labels without names, which may be numbers or names of the real classes ({shown}):"
                " save the name of each label with them as class_names."
            )
    assert source.labels is not None  # known of samples
    for label in np.unique(source.labels):
        if names[label] not in label_of:
            shown = ", ".join(map(str, list(label_of)[:10])) + (", ..." if len(label_of) > 10 else "")
            raise InputError(
                f"some generated images are of the class {names[label]}, which the real ones lack ({shown}): name the"
                " classes alike, or leave them out (one folder for all images, an .npz without labels)."
            )
    return np.asarray([label_of.get(name, -1) for name in names], np.int32)


def _key(name: str) -> str:
    """Returns the one spelling of a name that Unicode writes in several ways."""
    return unicodedata.normalize("NFC", name)


def neighbour_sheet(real: Real, fake: FeatureSet, images: np.ndarray, title: str) -> np.ndarray | None:
    """Draws samples beside the real images nearest to them in feature space, by which copies are recognised.

    Each row is captioned with the distance of the nearest real image, in units of the median distance of a real image
    from its own nearest.

    Args:
      real: real images and their features.
      fake: features of generated images.
      images: the first of the generated images, [R, H, W, 3] uint8.
      title: of the picture.

    Returns:
      A picture [height, width, 3] uint8, or None if `real` has only statistics.
    """
    if real.source is None or not isinstance(real.features, FeatureSet):
        return None
    features = real.features.features
    indices, distances = nearest(fake.features[: len(images)], features, NEIGHBOURS)
    found, _ = real.source.load(random_order(real.source, len(features))[indices.ravel()])
    spacing = np.sqrt(np.median(squared_radii(np.asarray(features[:MAX_SPACING_IMAGES]), (1,))))
    names = [f"{distance / max(spacing, np.finfo(np.float32).tiny):.2f}" for distance in distances[:, 0]]
    rows = np.concatenate([images[:, None], found.reshape(*indices.shape, *images.shape[1:])], axis=1)
    return sample_sheet(rows, names, f"{title} · left a sample, then its nearest real images; near 0 is a copy")
