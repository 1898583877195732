"""Which class each file of a folder or zip belongs to."""

import json

import pytest
from sources import same_images, zipped

from sagan_jax.data.files import ImageFiles
from sagan_jax.data.layout import folder_contents, wrapping_folder
from sagan_jax.errors import InputError

WRAPPED = {
    "": ["a/0.png", "b/1.png"],
    "photos/": ["photos/a/0.png", "photos/b/1.png", "photos/readme.md", "__MACOSX/photos/._x"],
    "x/y/": ["x/y/a/0.png", "x/y/b/deep/1.png"],
    "x/": ["x/cat/0.png", "x/cat/1.png"],
    "data/": ["data/0.png", "data/1.png", "data/dataset.json"],
    "stylegan/": ["stylegan/00000/0.png", "stylegan/00000/1.png", "stylegan/dataset.json"],
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_folders_around_everything_are_passed_through(wrapper):
    assert wrapping_folder(WRAPPED[wrapper]) == wrapper
    assert wrapping_folder(["00000/0.png", "dataset.json"]) == ""


def test_wrapped_parts_are_merged_and_wrapped_labels_found(image_folder, tmp_path_factory):
    out, whole = tmp_path_factory.mktemp("zips"), ImageFiles([str(image_folder)])
    for part, ending in enumerate((".png", ".jpg")):
        keep = lambda name, ending=ending: name.endswith(ending)  # noqa: E731
        zipped(image_folder, out / f"part-{part}.zip", wrapper=f"part{part}/", keep=keep)
    same_images(ImageFiles([str(out / "part-*.zip")]), whole)
    labels = {"labels": [["cat/a.png", 1], ["cat/deep/b.jpg", 0], ["dog/a.png", 1], ["dog/deep/b.jpg", 0]]}
    (image_folder / "dataset.json").write_text(json.dumps(labels))
    wrapped = ImageFiles([zipped(image_folder, out / "labelled.zip", wrapper="x/")])
    assert [file.label for file in wrapped.shard(0, 1)] == [1, 0, 1, 0]


def test_names_can_be_given_to_classes(image_folder):
    (image_folder / "classes.json").write_text(json.dumps({"cat": "Felis catus"}))
    assert ImageFiles([str(image_folder)]).class_names == ("Felis catus", "dog")


FILES = ["b/1.png", "a/0.png", "a/2.png"]


LAYOUTS = {
    "subfolders": (FILES, None, ("a", "b"), [0, 0, 1]),
    "flat": (["1.png", "0.png", "readme.md"], None, ("all",), [0, 0]),
    "one class": (["y/1.png", "y/0.png"], None, ("y",), [0, 0]),
    "label file": (FILES, {"labels": [["a/0.png", 1], ["a/2.png", 0], ["b/1.png", 2]]}, ("0", "1", "2"), [1, 0, 2]),
    "label file without labels": (FILES, {"labels": None}, ("all",), [0, 0, 0]),
    "class with folders": (["a/0.png", "b/deep/1.png"], None, ("a", "b"), [0, 1]),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_layout_gives_each_image_its_class(case):
    names, label_file, class_names, labels = LAYOUTS[case]
    text = None if label_file is None else json.dumps(label_file).encode()
    layout = folder_contents("here", names, text, None)
    assert layout.names == sorted(name for name in names if name.endswith("png"))
    assert (layout.class_names, layout.labels) == (class_names, labels)


AMBIGUOUS = {
    "nothing": (["notes.txt"], None, "here has no image"),
    "both": ([*FILES, "3.png"], None, "images both beside its subfolders .such as 3.png."),
    "splits": (["train/a/0.png", "val/a/1.png"], None, "train, val are parts of a data set"),
    "empty class": ([*FILES, "c/"], None, "class folder c has no image"),
    "class without images": ([*FILES, "c/x.svg"], None, "class folder c has no image, but 1 file .*: 1 .svg"),
    "no json": (FILES, b"{", "dataset.json is damaged .*: mend or remove it"),
    "no labels": (FILES, b"[1]", "dataset.json must be"),
    "no numbers": (FILES, b'{"labels": [["a/0.png", 0.5]]}', "whole numbers"),
    "huge label": (
        FILES,
        b'{"labels": [["a/0.png", 0], ["a/2.png", 999999999], ["b/1.png", 0]]}',
        "no image of label 1",
    ),
    "two labels": (FILES, b'{"labels": [["a/0.png", 0], ["a/0.png", 1]]}', "gives a/0.png two labels, 0 and 1"),
    "label file too deep": (["a/0.png", "b/1.png", "b/dataset.json"], None, "has a b/dataset.json, but labels count"),
    "prepared already": (["contact_sheet.png"], b'{"content_hash": "1"}', "is a prepared data set already"),
    "missing file": (FILES, b'{"labels": [["a/9.png", 0]]}', "names a/9.png, which is not there"),
    "missing label": (FILES, b'{"labels": [["a/0.png", 0]]}', "has no label for a/2.png"),
    "gap": (FILES, b'{"labels": [["a/0.png", 0], ["a/2.png", 2], ["b/1.png", 2]]}', "no image of label 1"),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_unclear_classes_are_refused(case):
    names, label_file, words = AMBIGUOUS[case]
    with pytest.raises(InputError, match=words):
        folder_contents("here", names, label_file, None)


def test_two_classes_cannot_have_one_name():
    with pytest.raises(InputError, match="calls two classes x"):
        folder_contents("here", FILES, None, b'{"a": "x", "b": "x"}')
