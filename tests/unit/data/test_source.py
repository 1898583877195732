"""Sources by name, and sources of one's own."""

import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import ROOT
from sources import source_config

from sagan_jax.config import load_config
from sagan_jax.data import ArrayImages, ImageSource, check_source
from sagan_jax.data.source import open_source
from sagan_jax.errors import InputError


@pytest.mark.parametrize("source", ["mnist", "folder:", "digits:8", "tfds:"])
def test_unknown_source_lists_the_kinds(source):
    with pytest.raises(InputError) as error:
        open_source(source_config(source))
    for words in (f"data.source = '{source}' is unknown", "digits", "prepared:DIR", "folder:PATH", "tfds:NAME"):
        assert words in str(error.value)


def test_missing_tfds_data_says_how_to_prepare_it(tmp_path):
    config = load_config("imagenet128")
    config.data.data_dir = str(tmp_path)
    with pytest.raises(InputError) as error:
        open_source(config)
    for words in ("tfds:imagenet2012", str(tmp_path), "download_and_prepare", "ILSVRC2012_img_train.tar"):
        assert words in str(error.value)
    config.data.source = "tfds:no_such_data"
    with pytest.raises(InputError, match="TFDS knows no data set of this name"):
        open_source(config)


def own_source():
    """The class of docs/data.md."""
    example = (ROOT / "docs" / "data.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert len(example.splitlines()) <= 20
    assert textwrap.indent(example, " " * 8).strip() in ImageSource.__doc__
    names = {"ImageSource": ImageSource, "Path": Path, "np": np, "Image": Image}
    exec(example, names)
    return names["JpegFolder"]


def test_the_example_of_an_own_source_is_one(tmp_path):
    for name, color in (("rose", "red"), ("iris", "blue"), ("iris", "navy")):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.new("RGB", (40, 20), color).save(tmp_path / name / f"{color}.jpg")
    source = own_source()(tmp_path, 16)
    check_source(source, 16)
    assert isinstance(source, ImageSource)
    assert (len(source), source.class_names, source.labels.tolist()) == (3, ("iris", "rose"), [0, 0, 1])
    images, _ = source.load(np.array([2, 0]))
    assert images[:, 0, 0].argmax(axis=1).tolist() == [0, 2]
    before = source.content_hash()
    assert before == own_source()(tmp_path, 16).content_hash()
    Image.new("RGB", (40, 20), "teal").save(tmp_path / "iris" / "blue.jpg")
    assert own_source()(tmp_path, 16).content_hash() != before


def test_required_members_of_a_subclass_are_named_by_python():
    class Empty(ImageSource):
        pass

    with pytest.raises(TypeError, match="__len__.*load"):
        Empty()


IMAGES = np.zeros((6, 16, 16, 3), np.uint8)


LABELS = np.arange(6, dtype=np.int32) % 2


BROKEN = {
    "labels are of 64 bits": ({"labels": LABELS.astype(np.int64)}, "labels are int64 .* must be int32"),
    "labels are a list": ({"labels": LABELS.tolist()}, "labels are a list, but must be int32"),
    "labels are too few": ({"labels": LABELS[:5]}, r"labels are int32 of shape \(5,\)"),
    "a label is too large": ({"labels": LABELS + 1}, "labels go from 1 to 2, but must be 0 to 1"),
    "a label is negative": ({"labels": LABELS - 1}, "labels go from -1 to 0"),
    "loaded label is too large": ({"labels": None, "loaded": LABELS * 2}, "load's labels go from 0 to 2"),
    "loaded labels are floats": ({"labels": None, "loaded": LABELS * 1.0}, "load's labels are float64 of shape"),
    "labels contradict": ({"loaded": LABELS[::-1].copy()}, r"labels \[0, 0, 0, 1\] for the .* has \[1, 1, 1, 0\]"),
    "channels first": ({"images": IMAGES.transpose(0, 3, 1, 2)}, r"shape \(4, 3, 16, 16\), but .* \(4, 16, 16, 3\)"),
    "floats": ({"images": IMAGES / 255}, r"images that are float64 .* must be uint8 \(0 to 255\)"),
    "other resolution": ({"images": IMAGES[:, :8, :8]}, r"shape \(4, 8, 8, 3\)"),
    "no images": ({"images": IMAGES[:0]}, "it has no images"),
    "no names": ({"class_names": ()}, r"class_names = \(\) must be a tuple of strings"),
    "one string": ({"class_names": "ab"}, "class_names = 'ab' must be a tuple of strings"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_source_that_breaks_the_protocol_is_refused(case):
    changes, message = BROKEN[case]
    source = ArrayImages("mine", IMAGES, LABELS, ("a", "b"))
    loaded = changes.pop("loaded", source.labels)
    vars(source).update(changes)
    source.load = lambda indices: (source.images[indices], loaded[indices])
    with pytest.raises(InputError, match=f"source = ArrayImages: .*{message}"):
        check_source(source, 16)


def test_what_is_no_source_is_refused():
    with pytest.raises(InputError, match="ndarray: it has no name, class_names, labels, load, content_hash, so"):
        check_source(IMAGES, 16)
    source = ArrayImages("mine", IMAGES)
    source.load = lambda indices: source.images[indices]
    with pytest.raises(InputError, match="load returns a ndarray, but must return two arrays"):
        check_source(source, 16)
