"""Warnings on what limits the meaning of scores: few images, missing classes, unofficial weights."""

from collections.abc import Iterator

import numpy as np

from sagan_jax.evaluation.scores import FEWEST_OF_A_CLASS, label_accuracy_is_known
from sagan_jax.features.extraction import FeatureSet
from sagan_jax.features.extractor import Extractor
from sagan_jax.features.inception_weights import SHA256
from sagan_jax.metrics.frechet import FEWEST_WITHIN_A_CLASS, Statistics


def warnings_of(
    extractor: Extractor, real: FeatureSet | Statistics, fake: FeatureSet, class_names: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yields the warnings, each a sentence.

    Args:
      extractor, real, fake: as in `scores_of`.
      class_names: of both; empty if there are none.
    """
    if extractor.name.startswith("inception2015") and extractor.facts.get("weights_sha256") != SHA256:
        yield (
            f"the weights of {extractor.name} ({extractor.facts['weights']}) do not have the SHA-256 of the FID's"
            f" ({SHA256[:12]}…): compare only with scores by the same file"
        )
    dimensions = fake.features.shape[1]
    for kind, features in (("generated", fake), ("real", real)):
        if isinstance(features, FeatureSet) and len(features) < dimensions:
            yield (
                f"{len(features):,} {kind} images are fewer than the {dimensions:,} dimensions of {extractor.name}:"
                f" {extractor.score_name('FID')} is too high by far; compare it only with others of as many images"
            )
    if class_names and isinstance(real, FeatureSet):
        yield from _about_classes(extractor, real, fake, class_names)


def _about_classes(
    extractor: Extractor, real: FeatureSet, fake: FeatureSet, class_names: tuple[str, ...]
) -> Iterator[str]:
    distance, dimensions = extractor.score_name("intra-class FID"), fake.features.shape[1]
    counts = {
        kind: np.bincount(features.labels, minlength=len(class_names))
        for kind, features in (("generated", fake), ("real", real))
    }
    for kind, of_kind in counts.items():
        missing = [class_names[label] for label in np.flatnonzero(of_kind == 0)]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            yield f"there are no {kind} images of {', '.join(missing[:3])}{more}"
    measured = np.minimum(*counts.values()) >= FEWEST_WITHIN_A_CLASS
    if not measured.all():
        yield (
            f"{np.count_nonzero(~measured):,} of {len(class_names):,} classes have fewer than {FEWEST_WITHIN_A_CLASS}"
            f" generated or real images and are left out of the {distance}"
        )
    for kind, of_kind in counts.items():
        smallest = min(of_kind[measured], default=dimensions)
        if smallest < dimensions:
            yield (
                f"the smallest class has {smallest:,} {kind} images, fewer than the {dimensions:,} dimensions of"
                f" {extractor.name}: {distance} is too high by far; compare it only with others of as many per class"
            )
    if not label_accuracy_is_known(real.labels):
        yield f"label accuracy is not measured, since a class has fewer than {FEWEST_OF_A_CLASS} real images"
