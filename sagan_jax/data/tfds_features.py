"""Checks that the records of a TFDS data set have an image and a class, of kinds that can be used."""

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from sagan_jax.data.source import ONE_CLASS
from sagan_jax.errors import InputError

IMAGE_KEY, LABEL_KEY = "image", "label"  # as most data sets call them
PIXELS = (np.uint8, np.uint16)
OTHER_LABELS = ("class", "classes", "labels", "target", "category")  # how some data sets call whole numbers for classes


def check_image(name: str, features: dict[str, Any], key: str) -> None:
    """Raises InputError unless the field `key` of the records of the data set `name` is an image of whole numbers."""
    field: dict[str, Any] = {"field": "data.image_key", "value": key}
    images = [other for other, feature in features.items() if type(feature) is tfds.features.Image]
    remedy = f"set it to '{images[0]}'" if images and images != [key] else "choose a data set of images"
    if key not in features:
        raise InputError(
            f"is no field of the records of tfds:{name}, which have {_listed(features)}", **field, remedy=remedy
        )
    if type(features[key]) is not tfds.features.Image:
        raise InputError(f"of tfds:{name} is no Image but {_kind(features[key])}", **field, remedy=remedy)
    if features[key].np_dtype not in PIXELS:
        problem = f"of tfds:{name} has {np.dtype(features[key].np_dtype)} pixels, whose range is not known"
        raise InputError(problem, **field, remedy="store them as uint8, or choose a data set that does")


def class_names_of(name: str, features: dict[str, Any], key: str) -> tuple[str, ...]:
    """Returns the names of the classes in the field `key`; of images without classes where it is empty.

    Raises:
      InputError: the field is no ClassLabel, or is missing; but `LABEL_KEY` may be, where no other looks like a class.
    """
    field: dict[str, Any] = {"field": "data.label_key", "value": key}
    if not key:
        return ONE_CLASS
    if key not in features:
        others = [other for other, feature in features.items() if _may_be_class(other, feature)]
        if key == LABEL_KEY and not others:
            return ONE_CLASS
        instead = f"set it to '{others[0]}', or" if others else "set it"
        raise InputError(
            f"is no field of the records of tfds:{name}, which have {_listed(features)}",
            **field,
            remedy=f"{instead} to '' for images without classes",
        )
    label = features[key]
    if not isinstance(label, tfds.features.ClassLabel):
        raise InputError(
            f"of tfds:{name} is no ClassLabel but {_kind(label)}, from which the classes do not follow",
            **field,
            remedy="set it to '' for images without classes, or store the data with a ClassLabel",
        )
    return tuple(label.names)


def _may_be_class(key: str, feature: Any) -> bool:
    numbers = (
        isinstance(feature, tfds.features.Tensor)
        and feature.shape == ()
        and np.issubdtype(feature.np_dtype, np.integer)
    )
    return isinstance(feature, tfds.features.ClassLabel) or (numbers and key in OTHER_LABELS)


def _listed(features: dict[str, Any]) -> str:
    return ", ".join(f"{key} ({_kind(feature)})" for key, feature in sorted(features.items()))


def _kind(feature: Any) -> str:
    """Returns the kind of a feature in few words, such as "Tensor of int64"."""
    kind = type(feature).__name__
    if kind == "Sequence":
        return f"Sequence of {_kind(feature.feature)}"
    return f"{kind} of {np.dtype(feature.np_dtype)}" if kind in ("Tensor", "Scalar") else kind
