"""All scores that two sets of features allow, each under a name that says in which features it was measured."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from sagan_jax.features.extraction import FeatureSet
from sagan_jax.features.extractor import Extractor
from sagan_jax.metrics.frechet import Statistics, frechet_distance, intra_class_distances
from sagan_jax.metrics.inception_score import inception_score
from sagan_jax.metrics.kernel_distance import kernel_distance
from sagan_jax.metrics.label_accuracy import label_accuracy, real_label_accuracy
from sagan_jax.metrics.neighbours import fidelity

MOST_NEIGHBOURS = 50_000  # features of each kind for precision to coverage
FEWEST_NEIGHBOURS, FEWEST_OF_A_CLASS = 10, 4
SUBSETS, SUBSET_SIZE, SPLITS, PRECISION_K, DENSITY_K = 100, 1000, 10, 3, 5


# What a score measures, and whether less of it is better.
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
    """One number.

    Attributes:
      kind: one of KINDS.
      name: such as "FID" or "FD-inception768".
      value: of the score.
      spread: its standard error (KID) or deviation (IS), else None.
      about: what is to be known beside the number; may be empty.
    """

    kind: str
    name: str
    value: float
    spread: float | None = None
    about: str = ""

    @property
    def key(self) -> str:
        """The name as files have it, such as "fid" or "fd_inception768"."""
        return self.name.lower().translate(str.maketrans(" -:", "___"))


def scores_of(
    extractor: Extractor, real: FeatureSet | Statistics, fake: FeatureSet, *, classes: bool
) -> Iterator[Score]:
    """The scores, one by one as they are ready.

    Args:
      extractor: of the features.
      real: features of real images in random order, or only their mean and covariance.
      fake: features of generated images; their labels count like those of the real ones.
      classes: whether the labels of both are known.
    """
    name = extractor.score_name
    gaussian = real.moments if isinstance(real, FeatureSet) else real
    yield Score("frechet", name("FID"), frechet_distance(gaussian, fake.moments))
    if fake.logits is not None:
        score = inception_score(fake.logits, splits=SPLITS)
        yield Score(
            "inception_score",
            name("IS"),
            score.mean,
            score.std,
            f"over {min(SPLITS, len(fake))} splits",
        )
    if not isinstance(real, FeatureSet):
        return
    if real.spatial is not None and fake.spatial is not None:
        yield Score(
            "spatial_frechet", name("sFID"), frechet_distance(real.spatial, fake.spatial), about="of spatial features"
        )
    size = min(SUBSET_SIZE, len(real), len(fake))
    kernel = kernel_distance(real.features, fake.features, subsets=SUBSETS, subset_size=size)
    yield Score("kernel", name("KID"), kernel.mean, kernel.standard_error, f"over {SUBSETS} subsets of {size:,}")
    count = min(len(real), len(fake), MOST_NEIGHBOURS)
    if count >= FEWEST_NEIGHBOURS:
        near = fidelity(real.features[:count], fake.features[:count], precision_k=PRECISION_K, density_k=DENSITY_K)
        for kind, value in near._asdict().items():
            k = PRECISION_K if kind in ("precision", "recall") else DENSITY_K
            yield Score(kind, kind, value, about=f"k = {k}, {count:,} of each")
    if classes:
        yield from _class_scores(extractor, real, fake)


def _class_scores(extractor: Extractor, real: FeatureSet, fake: FeatureSet) -> Iterator[Score]:
    distances = intra_class_distances(real.features, real.labels, fake.features, fake.labels)
    if distances:
        name, about = (
            extractor.score_name("intra-class FID"),
            f"mean over {len(distances)} of {len(np.unique(real.labels))} classes",
        )
        yield Score("intra_class_frechet", name, float(np.mean(list(distances.values()))), about=about)
    if min(np.unique(real.labels, return_counts=True)[1]) < FEWEST_OF_A_CLASS:
        return
    best = real_label_accuracy(real.features, real.labels)
    accuracy = label_accuracy(real.features, real.labels, fake.features, fake.labels)
    yield Score("label_accuracy", "label accuracy", accuracy, about=f"real images {best:.1%}")


def cautions(
    extractor: Extractor, real: FeatureSet | Statistics, fake: FeatureSet, class_names: tuple[str, ...] = ()
) -> Iterator[str]:
    """Sentences on what makes the scores less than they seem.

    Args:
      extractor, real, fake: as in `scores_of`.
      class_names: of the labels of both, empty where there are none.
    """
    dimensions = fake.features.shape[1]
    for kind, features in (("generated", fake), ("real", real)):
        if isinstance(features, FeatureSet) and len(features) < dimensions:
            yield (
                f"{len(features):,} {kind} images are fewer than the {dimensions:,} dimensions of {extractor.name}:"
                f" {extractor.score_name('FID')} is too high by far; compare it only with others of as many images"
            )
    if class_names and isinstance(real, FeatureSet):
        for kind, features in (("generated", fake), ("real", real)):
            present = set(features.labels.tolist())
            missing = [name for label, name in enumerate(class_names) if label not in present]
            if missing:
                more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                yield f"there are no {kind} images of {', '.join(missing[:3])}{more}"
