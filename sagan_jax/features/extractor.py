"""Feature networks by name: their weights, their outputs, and the names of scores in their features."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sagan_jax.errors import InputError
from sagan_jax.features import resnet56
from sagan_jax.features.classifier import MAX_IMAGES, Classifier, train_classifier
from sagan_jax.features.inception_weights import find_weights, inception_params
from sagan_jax.features.resizing import RESIZES, resized
from sagan_jax.metrics.inception import SIDE, Inception, normalised
from sagan_jax.runtime.busy import busy
from sagan_jax.runtime.storage import sha256_of
from sagan_jax.runtime.user_paths import local_path
from sagan_jax.weights.files import read_weights

TAPS = ("64", "192", "768", "2048")
CLASSIFIERS = ("resnet56_cifar10", "classifier")
NAMES = ("inception2015", *(f"inception2015:{tap}" for tap in TAPS), *CLASSIFIERS)

Images = tuple[np.ndarray, np.ndarray]  # [N, H, W, 3] uint8 and labels [N] int32


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A feature network with its weights.

    Attributes:
      name: one of NAMES.
      facts: what the features depend on, for the protocol and the key of the cache: weights, their hash, resize.
      variables: weights.
      function: (variables, images [B, H, W, 3] uint8) -> "features" [B, D], and where the network has them "logits"
        [B, K] and "spatial" [B, S].
      side: of the images that it takes, in pixels; None: any size.
    """

    name: str
    facts: dict[str, Any]
    variables: Any
    function: Callable[[Any, jax.Array], dict[str, jax.Array]]
    side: int | None = None

    @property
    def identity(self) -> str:
        """Returns what the features depend on besides the images, such as "inception2015, legacy, 6726825d0af5...".

        The weights of the classifier are excluded: they derive from the real images, but in their last bits also from
        the machine, which may change when a run is continued.
        """
        facts = self.facts if self.name != "classifier" else {}
        return ", ".join([self.name, *(facts[part] for part in ("resize", "weights_sha256") if part in facts)])

    def score_name(self, standard: str) -> str:
        """Returns the name in these features of a score that is called `standard` in Inception's 2048, such as FID."""
        if self.name == "inception2015":
            return standard if self.facts["resize"] == "legacy" else f"clean-{standard}"
        other = {"FID": "FD", "KID": "KD", "intra-class FID": "intra-class FD"}.get(standard, standard)
        return f"{other}-{self.name.replace('2015:', '')}"


def check_extractor(name: str, resize: str) -> None:
    """Raises InputError, about "features" or "resize", if there is no such feature network or resize."""
    for field, value, choices in (("features", name, NAMES), ("resize", resize, RESIZES)):
        if value not in choices:
            raise InputError("is unknown", field=field, value=value, remedy=f"choose from {', '.join(choices)}")


def open_extractor(name: str, weights: str, resize: str, real: Callable[[int], Images], num_classes: int) -> Extractor:
    """Opens the feature network of a name; trains it if it is the classifier.

    Args:
      name: one of NAMES.
      weights: file of its weights; empty: a download for Inception.
      resize: how images are brought to Inception's size, one of RESIZES.
      real: returns the given number of random real images, or all, to train a classifier on.
      num_classes: of the real images.

    Raises:
      InputError: the name is unknown, or its weights are missing or damaged.
    """
    check_extractor(name, resize)
    kind, _, tap = name.partition(":")
    if kind == "inception2015":
        return _open_inception(tap or "2048", weights, resize)
    if kind == "resnet56_cifar10":
        return _open_resnet56(weights)
    return _train_classifier(real, num_classes)


def _open_inception(tap: str, weights: str, resize: str) -> Extractor:
    path = find_weights(weights)
    params = inception_params(read_weights(path), deepest_of(tap), path)
    return inception_extractor(tap, resize, params, _facts_of_file(path))


def deepest_of(tap: str) -> str:
    """Returns the depth of `Inception` that all outputs of a tap need."""
    return "logits" if tap == "2048" else "768"


def inception_extractor(tap: str, resize: str, params: Any, facts: dict[str, Any]) -> Extractor:
    """Makes the extractor of Inception's features at a tap, with the given parameters."""
    name = "inception2015" if tap == "2048" else f"inception2015:{tap}"
    return Extractor(
        name, facts | {"resize": resize}, {"params": params}, functools.partial(_inception_features, tap, resize)
    )


def _inception_features(tap: str, resize: str, variables: Any, images: jax.Array) -> dict[str, jax.Array]:
    taps = Inception(deepest_of(tap)).apply(variables, normalised(resized(images, SIDE, resize)))
    assert isinstance(taps, dict)
    named = {"features": taps[tap]}
    return named | {kind: taps[kind] for kind in ("logits", "spatial") if tap == "2048"}


def _open_resnet56(weights: str) -> Extractor:
    if not weights:
        raise InputError(
            "resnet56_cifar10 needs the file of its weights: give it with --weights=FILE (in training"
            " --config.eval.weights=FILE), such as resnet56-4bfd9763.th of"
            " https://github.com/akamaster/pytorch_resnet_cifar10."
        )
    path = local_path(weights)
    variables = resnet56.variables_of(read_weights(path), path)
    return Extractor("resnet56_cifar10", _facts_of_file(path), variables, resnet56.ResNet56().apply, resnet56.SIDE)  # type: ignore[arg-type]


def _train_classifier(real: Callable[[int], Images], num_classes: int) -> Extractor:
    if num_classes < 2:
        raise InputError(
            f"the feature network classifier learns to tell classes apart, but the real images have {num_classes}:"
            " use inception2015."
        )
    images, labels = real(MAX_IMAGES)
    with busy(f"training the classifier on {len(images):,} real images"):
        trained = train_classifier(images, labels, num_classes, seed=0)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(trained.variables):
        digest.update(np.asarray(leaf).tobytes())
    facts = {
        "weights": f"trained on {len(images):,} real images, {trained.accuracy:.2%} right of those held out",
        "weights_sha256": digest.hexdigest(),
    }
    return Extractor("classifier", facts, trained.variables, Classifier(num_classes).apply)  # type: ignore[arg-type]


def _facts_of_file(path: Path) -> dict[str, Any]:
    return {"weights": path.name, "weights_sha256": sha256_of(path)}
