"""Finds the class of each image of a folder or archive, by the names of its folders or by a label file."""

import collections
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from sagan_jax.data.formats import COMMON
from sagan_jax.data.listing import CLASS_FILE, LABEL_FILE, is_hidden, is_image, left_out, plain_path
from sagan_jax.data.source import ONE_CLASS
from sagan_jax.errors import InputError
from sagan_jax.runtime.documents import parse_document

MOST_LETTERS = 1000  # of the name of a class
SPLITS = {"train", "training", "val", "valid", "validation", "test"}
INDEX_DIGITS = 4  # folders with names of so many digits or more rather number files than classes


class FolderContents(NamedTuple):
    """The images of a data set in the order of their names.

    Attributes:
      class_names: one per label, in label order.
      names, labels: of each image.
      remarks: sentences on what was left out, and on what may be no classes.
    """

    class_names: tuple[str, ...]
    names: list[str]
    labels: list[int]
    remarks: tuple[str, ...]


def folder_contents(
    where: str, names: Sequence[str], label_file: bytes | None, class_file: bytes | None
) -> FolderContents:
    """Finds the classes of the images among `names`.

    A label file gives the label of each image. Without one, each subfolder is a class, in the order of the sorted
    names, and images without subfolders have no classes.

    Args:
      where: the folder or archive, for messages.
      names: paths below it (and below its `wrapping_folder`), with "/"; folders end with "/".
      label_file: contents of its `dataset.json`, or None.
      class_file: contents of its `classes.json`, or None; it gives classes names to display.

    Raises:
      InputError: the classes are ambiguous, empty, or wrong.
    """
    visible = sorted(name for name in names if not is_hidden(name))
    files = [name for name in visible if not name.endswith("/")]
    images = [name for name in files if is_image(name)]
    if not images:
        found = "".join(f", but {what}" for what in left_out(names))
        raise InputError(f"{where} has no image{found}: give a folder or zip with images ({COMMON}).")
    for name in files:
        if PurePosixPath(name).name == LABEL_FILE and name != LABEL_FILE:
            raise InputError(f"{where} has a {name}, but labels count only at its top: give {where}/{name[:-13]}.")
    if label_file is not None:
        labels = _labels_of_file(where, images, label_file)
        keys = [str(label) for label in range(max(labels) + 1)] if labels else list(ONE_CLASS)
        labels = labels or [0] * len(images)
    else:
        keys, labels = _labels_of_folders(where, images, names)
    shown = _parsed(f"{where}/{CLASS_FILE}", class_file) if class_file is not None else {}
    if not isinstance(shown, dict) or not all(isinstance(name, str | int) for name in shown.values()):
        raise InputError(f'{where}/{CLASS_FILE} must be an object such as {{"n01440764": "tench"}}.')
    shown = {plain_path(key): name for key, name in shown.items()}
    class_names = tuple(str(shown.get(key, key)) for key in keys)
    longest = max(class_names, key=len)
    if len(longest) > MOST_LETTERS:
        raise InputError(f"{where}: the class {longest[:40]}... has a name of {len(longest):,} letters: shorten it.")
    for name, count in collections.Counter(class_names).items():
        if count > 1:
            raise InputError(f"{where}/{CLASS_FILE} calls two classes {name}: give each a name of its own.")
    indexed = label_file is None and _number_files(keys)
    return FolderContents(class_names, images, labels, tuple(_remarks(names, keys if indexed else [])))


def _number_files(folders: list[str]) -> bool:
    """Returns whether the names of folders look like those of tools that put a thousand images into each."""
    digits = len(folders[0])
    return len(folders) > 1 and digits >= INDEX_DIGITS and all(n.isdecimal() and len(n) == digits for n in folders)


def _remarks(names: Sequence[str], index_folders: list[str]) -> Iterator[str]:
    yield from (f"left out: {what}" for what in left_out(names))
    if index_folders:
        first, last = index_folders[0], index_folders[-1]
        yield (
            f"the {len(index_folders):,} folders {first} to {last} are taken for classes: if they only number the"
            " images, train with model.num_classes=0"
        )


def _labels_of_folders(where: str, images: list[str], names: Sequence[str]) -> tuple[list[str], list[int]]:
    flat = [name for name in images if "/" not in name]
    if len(flat) == len(images):
        return list(ONE_CLASS), [0] * len(images)
    if flat:
        raise InputError(
            f"{where} has images both beside its subfolders (such as {flat[0]}) and in them: move them into"
            " a subfolder per class, or all into one folder without subfolders."
        )
    parts = [name.partition("/") for name in names if not is_hidden(name)]
    classes = sorted({folder for folder, slash, _ in parts if slash})
    splits = [folder for folder in classes if folder.lower() in SPLITS]
    if len(splits) > 1:
        raise InputError(
            f"{where}: the folders {', '.join(splits)} are parts of a data set and not classes: give one of them,"
            f" such as {where}/{splits[0]}."
        )
    label_of = {folder: label for label, folder in enumerate(classes)}
    labels = [label_of[name.partition("/")[0]] for name in images]
    for label in sorted(set(range(len(classes))) - set(labels)):
        found = "".join(f", but {what}" for what in left_out([n for n in names if n.startswith(f"{classes[label]}/")]))
        raise InputError(
            f"{where}: the class folder {classes[label]} has no image{found}: add some ({COMMON}) or remove the folder."
        )
    return classes, labels


def wrapping_folder(names: Sequence[str]) -> str:
    """Returns the path, ending with "/" or empty, of the innermost folder that holds everything and is not a class.

    Args:
      names: all paths in a folder or archive.
    """
    images = [name for name in names if is_image(name)]
    described = [name for name in names if PurePosixPath(name).name in (LABEL_FILE, CLASS_FILE) and not is_hidden(name)]
    wrapper = ""
    while images:
        first, slash, _ = images[0].removeprefix(wrapper).partition("/")
        inner = f"{wrapper}{first}/"
        if not slash or not all(name.startswith(inner) for name in [*images, *described]):
            break
        if inner + LABEL_FILE not in described and any("/" not in name.removeprefix(inner) for name in images):
            break  # a class, since it holds images directly
        wrapper = inner
    return wrapper


def _labels_of_file(where: str, images: list[str], text: bytes) -> list[int]:
    """Returns the label of each image; an empty list if the file has `"labels": null`."""
    parsed = _parsed(f"{where}/{LABEL_FILE}", text)
    if isinstance(parsed, dict) and "content_hash" in parsed:
        raise InputError(f"{where} is a prepared data set already: give the images that it was made of.")
    pairs = parsed.get("labels") if isinstance(parsed, dict) else None
    if isinstance(parsed, dict) and "labels" in parsed and pairs is None:
        return []
    try:
        named = [(plain_path(str(name)), label) for name, label in pairs or ()]
    except (TypeError, ValueError):
        named = []
    label_of = dict(named)
    if not label_of or not all(type(label) is int and label >= 0 for label in label_of.values()):
        raise InputError(
            f'{where}/{LABEL_FILE} must be {{"labels": [["folder/image.png", 0], ...]}} with whole numbers from 0'
            ' on, or {"labels": null} for images without classes.'
        )
    for name, label in named:
        if label_of[name] != label:
            raise InputError(f"{where}/{LABEL_FILE} gives {name} two labels, {label} and {label_of[name]}.")
    present = set(images)
    for name in label_of:
        if name not in present:
            raise InputError(f"{where}/{LABEL_FILE} names {name}, which is not there: remove its entry.")
    for name in images:
        if name not in label_of:
            raise InputError(f"{where}/{LABEL_FILE} has no label for {name}: add it, or remove the image.")
    labels = [label_of[name] for name in images]
    used = sorted(set(labels))
    for expected, label in enumerate(used):
        if label != expected:
            raise InputError(
                f"{where}/{LABEL_FILE} has no image of label {expected}, but some of {label}: number them without gaps."
            )
    return labels


def _parsed(where: str, text: bytes) -> object:
    return parse_document(text, Any, where, "mend or remove it")
