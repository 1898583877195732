"""Opens the images to compare, another tool's samples or real data, by a name or a path."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from sagan_jax.data.arrays import ArrayImages
from sagan_jax.data.encoded import Decoded, EncodedImage, open_image
from sagan_jax.data.files import open_listing
from sagan_jax.data.manifest import MANIFEST
from sagan_jax.data.source import ImageSource, open_source
from sagan_jax.errors import InputError
from sagan_jax.runtime.user_paths import local_path, user_path

MOST_CLASSES = 1_000_000
IMAGE_KEYS, LABEL_KEYS, NAMES_KEY = ("images", "samples", "arr_0"), ("labels", "arr_1"), "class_names"


class NumberedImages(ArrayImages):
    """Images with labels but without names of classes; `class_names` are the labels as text."""


def open_samples(path: str) -> ImageSource:
    """Opens the images of a folder, a zip archive or an .npz file, without cropping or resizing.

    An .npz has images [N, H, W, 3] uint8 as "images", "samples" or "arr_0", and may have labels [N] as "labels" or
    "arr_1", and with these the name of each label [K] as "class_names".

    Raises:
      InputError: there are no images, or they are not square, not of one size, or not uint8.
    """
    if Path(path).suffix == ".npz":
        return _open_npz(local_path(path))
    files = open_listing([path])
    first = files.file(0)
    with open_image(first) as image:
        side = image.width
    for index in range(len(files)):
        _check_size(files.file(index), side)
    return Decoded(len(files), files.file, side, path, files.class_names, files.labels, files.remarks)


def _check_size(file: EncodedImage, side: int) -> None:
    with open_image(file) as image:
        if image.size != (side, side):
            raise InputError(
                f"{file.name} has {image.width}x{image.height} pixels, but the first image is {side} wide: only square"
                " images of one size can be compared; python -m sagan_jax.prepare makes such."
            )


def _open_npz(path: Path) -> ArrayImages:
    try:
        with np.load(path, allow_pickle=False) as stored:
            images = next((stored[key] for key in IMAGE_KEYS if key in stored), None)
            labels = next((stored[key] for key in LABEL_KEYS if key in stored), None)
            class_names = stored.get(NAMES_KEY)
            keys = ", ".join(stored)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}: give the path of an .npz, a folder or a zip of images.") from error
    except Exception as error:  # zipfile, zlib and numpy have each errors of their own
        raise InputError(f"{path} is damaged ({error}): write it again.") from error
    if images is None:
        raise InputError(f"{path} has no array {', '.join(IMAGE_KEYS)}, but {keys}: save the images as 'images'.")
    shape = images.shape
    if images.dtype != np.uint8 or images.ndim != 4 or shape[3] != 3 or shape[1] != shape[2] or not len(images):
        raise InputError(
            f"{path} has {images.dtype} images of shape {shape}: they must be square RGB, [N, side, side, 3], uint8"
            " with values 0 to 255."
        )
    if labels is None:
        return ArrayImages(str(path), images)
    return _labelled(path, images, labels, class_names)


def _labelled(path: Path, images: np.ndarray, labels: np.ndarray, class_names: np.ndarray | None) -> ArrayImages:
    if (
        labels.shape != (len(images),)
        or labels.dtype.kind not in "iu"
        or not 0 <= labels.min() <= labels.max() < MOST_CLASSES
    ):
        raise InputError(
            f"{path} has {labels.dtype} labels of shape {labels.shape} for {len(images)} images: they must be whole"
            f" numbers from 0 on (below {MOST_CLASSES:,}), one per image."
        )
    most, labels = labels.max(), labels.astype(np.int32)
    if class_names is None:
        return NumberedImages(str(path), images, labels, [str(label) for label in range(most + 1)])
    one_each = class_names.ndim == 1 and most < len(np.unique(class_names)) == len(class_names)
    if class_names.dtype.kind != "U" or not one_each:
        raise InputError(
            f"{path} has {class_names.dtype} class_names of shape {class_names.shape} for labels up to {most}: they"
            " must be text, a name of its own for each label from 0 on."
        )
    return ArrayImages(str(path), images, labels, class_names.tolist())


def open_real(data: ConfigDict, name: str) -> ImageSource:
    """Opens real images by a name as in `data.source`, or by the path of a prepared set, a folder, a zip or an .npz.

    Args:
      data: `config.data` except for its source; images are cropped and resized to `data.resolution`.
      name: name or path of the data set.

    Raises:
      InputError: there is no such data set, or it lacks random access.
    """
    if Path(name).suffix == ".npz":
        images = _open_npz(local_path(name))
        if images.images.shape[1] != data.resolution:
            raise InputError(
                f"the real images of {name} have {images.images.shape[1]} pixels a side, the generated ones"
                f" {data.resolution}: give both in one size."
            )
        return images
    if name.partition(":")[0] not in ("digits", "prepared", "folder", "tfds"):
        name = f"prepared:{name}" if user_path(name).joinpath(MANIFEST).exists() else f"folder:{name}"
    config = ConfigDict({"data": data.copy_and_resolve_references()})
    config.data.source = name
    source = open_source(config)
    if not isinstance(source, ImageSource):
        raise InputError(f"{source.name} can only be streamed: make a set with python -m sagan_jax.prepare first.")
    return source


def random_order(source: ImageSource, count: int | None) -> np.ndarray:
    """Returns the indices [n] of `count` images (None: all) in a fixed random order; each prefix is a random sample."""
    return np.random.default_rng(0).permutation(len(source))[:count]
