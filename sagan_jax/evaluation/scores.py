"""Computes all scores of two sets of features.

The names of distances and of the Inception Score contain the feature network; of the other scores only the protocol
has it.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from sagan_jax.features.extraction import FeatureSet
from sagan_jax.features.extractor import Extractor
from sagan_jax.metrics.frechet import Statistics, frechet_distance, intra_class_distances
from sagan_jax.metrics.inception_score import inception_score
from sagan_jax.metrics.kernel_distance import kernel_distance
from sagan_jax.metrics.neighbours import fidelity

MAX_KERNEL_FEATURES, MAX_NEIGHBOUR_FEATURES = 10_000, 50_000  # of each kind: for KID; for precision to coverage
FEWEST_NEIGHBOURS, FEWEST_OF_A_CLASS = 10, 4
SPLITS, PRECISION_K, DENSITY_K = 10, 3, 5


# Kinds of scores, and whether lower is better.
KINDS = {
    "frechet": True,
    "inception_score": False,
    "spatial_frechet": True,
    "kernel": True,
    "precision": False,
    "recall": False,
    "density": False,
    "coverage": False,
    "intra_class_frechet": True,
    "label_accuracy": False,
}


@dataclasses.dataclass(frozen=True)
class Score:
    """A score.

    Attributes:
      kind: one of KINDS.
      name: such as "FID" or "FD-inception768".
      value: the number.
      std_error: its standard error (KID) or standard deviation over splits (IS), else None.
      about: details of the measurement, shown in brackets; may be empty.
    """

    kind: str
    name: str
    value: float
    std_error: float | None = None
    about: str = ""

    @property
    def key(self) -> str:
        """Returns the name in files, such as "fid" or "fd_inception768"."""
        return self.name.lower().translate(str.maketrans(" -:", "___"))


def scores_of(
    extractor: Extractor, real: FeatureSet | Statistics, fake: FeatureSet, *, classes: bool
) -> Iterator[Score]:
    """Yields the scores one by one as they are computed.

    Args:
      extractor: network of the features.
      real: features of real images in random order, or only their mean and covariance.
      fake: features of generated images.
      classes: whether both have labels, of the same classes.
    """
    name = extractor.score_name
    gaussian = real.moments if isinstance(real, FeatureSet) else real
    yield Score("frechet", name("FID"), frechet_distance(gaussian, fake.moments))
    if fake.logits is not None:
        score = inception_score(fake.logits, splits=SPLITS)
        about = f"over {min(SPLITS, len(fake))} splits"
        yield Score("inception_score", name("IS"), score.mean, score.std, about)
    if not isinstance(real, FeatureSet):
        return
    if real.spatial is not None and fake.spatial is not None:
        distance = frechet_distance(real.spatial, fake.spatial)
        yield Score("spatial_frechet", name("sFID"), distance, about="of spatial features")
    num_real, num_fake = min(len(real), MAX_KERNEL_FEATURES), min(len(fake), MAX_KERNEL_FEATURES)
    kernel = kernel_distance(real.features[:num_real], fake.features[:num_fake])
    about = f"over {num_real:,} of each" if num_real == num_fake else f"over {num_real:,} real, {num_fake:,} generated"
    yield Score("kernel", name("KID"), kernel.value, kernel.std_error, about)
    count = min(len(real), len(fake), MAX_NEIGHBOUR_FEATURES)
    if count >= FEWEST_NEIGHBOURS:
        measures = fidelity(
            real.features[:count],
            fake.features[:count],
            precision_k=PRECISION_K,
            density_k=DENSITY_K,
            real_radii=real.squared_radii(count, (PRECISION_K, DENSITY_K)),
        )
        for kind, value in measures._asdict().items():
            k = PRECISION_K if kind in ("precision", "recall") else DENSITY_K
            yield Score(kind, kind, value, about=f"k = {k}, {count:,} of each")
    if classes:
        yield from _class_scores(extractor, real, fake)


def _class_scores(extractor: Extractor, real: FeatureSet, fake: FeatureSet) -> Iterator[Score]:
    distances = intra_class_distances(real.features, real.labels, fake.features, fake.labels)
    if distances:
        fewest_real, fewest_fake = (
            min(np.count_nonzero(features.labels == label) for label in distances) for features in (real, fake)
        )
        about = (
            f"mean over {len(distances)} of {len(np.unique(real.labels))} classes,"
            f" each of at least {fewest_real:,} real, {fewest_fake:,} generated"
        )
        name = extractor.score_name("intra-class FID")
        yield Score("intra_class_frechet", name, float(np.mean(list(distances.values()))), about=about)
    if label_accuracy_is_known(real.labels):
        accuracy = real.classifier.accuracy(fake.features, fake.labels)
        yield Score("label_accuracy", "label accuracy", accuracy, about=f"real images {real.held_out_accuracy:.1%}")


def label_accuracy_is_known(real_labels: np.ndarray) -> bool:
    """Returns whether each class among the labels [N] int has enough real images to measure label accuracy."""
    return bool(np.unique(real_labels, return_counts=True)[1].min() >= FEWEST_OF_A_CLASS)
