"""Sources of images: folders, archives, label files, TFDS, a user's own, and the way of any image to square RGB."""

import json
import pickle
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from ml_collections import ConfigDict
from PIL import Image

from sagan_jax.config import load_config
from sagan_jax.data import ArrayImages, ImageSource, check_source
from sagan_jax.data.encoded import EncodedImage, decode
from sagan_jax.data.files import ImageFiles
from sagan_jax.data.layout import folder_contents, wrapping_folder
from sagan_jax.data.resize import FILTERS, square_rgb
from sagan_jax.data.source import open_source
from sagan_jax.errors import InputError


def config_for(source, num_classes=10):
    return ConfigDict(
        {"data": {"source": source, "resolution": 16, "split": "train", "data_dir": "", "cache_dir": ""},
         "model": {"num_classes": num_classes}}
    )  # fmt: skip


@pytest.mark.parametrize("source", ["mnist", "folder:", "digits:8", "tfds:"])
def test_unknown_source_lists_the_kinds(source):
    with pytest.raises(InputError) as error:
        open_source(config_for(source))
    for words in (f"data.source = '{source}' is unknown", "digits", "prepared:DIR", "folder:PATH", "tfds:NAME"):
        assert words in str(error.value)


@pytest.fixture
def image_folder(tmp_path):
    for name, color in (("dog", "red"), ("cat", "blue")):
        (tmp_path / name / "deep").mkdir(parents=True)
        Image.new("RGB", (40, 20), color).save(tmp_path / name / "a.png")
        Image.new("RGB", (20, 30), color).save(tmp_path / name / "deep" / "b.jpg", quality=95)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "cat" / "._a.png").write_bytes(b"what macOS leaves behind")
    return tmp_path


def test_folder_has_a_class_per_subfolder(image_folder):
    source = open_source(config_for(f"folder:{image_folder}", 2))
    assert (source.class_names, len(source)) == (("cat", "dog"), 4)
    images, labels = source.load(np.arange(4))
    assert list(labels) == list(source.labels) == [0, 0, 1, 1]
    assert images.shape == (4, 16, 16, 3)
    assert images[0, 8, 8].argmax() == 2
    assert images[3, 8, 8].argmax() == 0
    assert ImageFiles([str(image_folder)]).remarks == ("left out: 1 file not read: 1 .txt",)


def zipped(folder, path, wrapper="", keep=lambda name: True):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder).as_posix()
            if file.is_file() and keep(name):
                archive.write(file, wrapper + name)
    return str(path)


def same_images(one, other):
    assert one.class_names == other.class_names
    assert one.identity() == other.identity()
    for a, b in zip(one.shard(0, 1), other.shard(0, 1), strict=True):
        assert (a.label, a.read()) == (b.label, b.read())


def test_zip_and_several_zips_are_the_folder_they_were_made_of(image_folder, tmp_path_factory):
    out, whole = tmp_path_factory.mktemp("zips"), ImageFiles([str(image_folder)])
    same_images(ImageFiles([zipped(image_folder, out / "all.zip")]), whole)
    for part, class_name in enumerate(("dog", "cat")):
        zipped(image_folder, out / f"part-{part}.zip", keep=lambda name, c=class_name: name.startswith(c))
    parts = ImageFiles([str(out / "part-*.zip")])
    same_images(parts, whole)
    same_images(pickle.loads(pickle.dumps(parts)), whole)
    wrapped = ImageFiles([zipped(image_folder, out / "wrapped.zip", wrapper="photos/2026/")])
    assert wrapped.class_names == ("cat", "dog")
    with pytest.raises(InputError, match="cat/a.png is in both .*all.zip and .*part-1.zip"):
        ImageFiles([str(out / "all.zip"), str(out / "part-1.zip")])


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


def test_shards_are_even_and_complete(image_folder):
    files = ImageFiles([str(image_folder)])
    shards = [[file.name for file in files.shard(index, 3)] for index in range(3)]
    assert [len(shard) for shard in shards] == [2, 1, 1]
    assert [name for shard in shards for name in shard] == [files.file(index).name for index in range(4)]


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


def test_links_are_followed_but_not_in_circles(image_folder, tmp_path_factory):
    linked = tmp_path_factory.mktemp("linked")
    (linked / "cat").symlink_to(image_folder / "cat")
    (linked / "dog").mkdir()
    (linked / "dog" / "a.png").symlink_to(image_folder / "dog" / "a.png")
    (linked / "dog" / "up").symlink_to(linked)
    assert [file.name.rpartition("linked0/")[2] for file in ImageFiles([str(linked)]).shard(0, 1)] == [
        "cat/a.png",
        "cat/deep/b.jpg",
        "dog/a.png",
    ]


def test_what_cannot_be_read_is_named(image_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("zips")
    with pytest.raises(InputError, match=r"data.source = 'folder:/nowhere'.*no folder or zip archive /nowhere"):
        open_source(config_for("folder:/nowhere"))
    with pytest.raises(InputError, match=r"nothing is called .*part-\*.zip"):
        ImageFiles([str(out / "part-*.zip")])
    (image_folder / "cat" / "a.png").write_bytes(b"broken")
    with pytest.raises(InputError, match="cat/a.png is not a readable image"):
        open_source(config_for(f"folder:{image_folder}")).load(np.array([0]))
    (out / "x.zip").write_bytes(b"PK broken")
    with pytest.raises(InputError, match="x.zip is not a zip archive that can be read"):
        ImageFiles([str(out / "x.zip")])


def test_whatever_a_decoder_raises_names_the_file():
    def read():
        raise TypeError("of a decoder that stumbled")

    with pytest.raises(InputError, match="x.png is not a readable image .of a decoder that stumbled."):
        decode(EncodedImage("x.png", 0, read), 16)


@pytest.mark.parametrize("name", ["cat\\a.png", "/cat/a.png"])
def test_zips_with_strange_paths_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        entry = zipfile.ZipInfo("x")
        entry.filename = name
        archive.writestr(entry, b"")
    with pytest.raises(InputError, match="has names that are no relative paths"):
        ImageFiles([str(tmp_path / "x.zip")])


def test_links_between_classes_end(image_folder):
    (image_folder / "cat" / "x").symlink_to(image_folder / "dog")
    (image_folder / "dog" / "y").symlink_to(image_folder / "cat")
    assert len(ImageFiles([str(image_folder)])) == 6


def test_damage_within_a_zip_is_named(image_folder, tmp_path):
    path = tmp_path / "damaged.zip"
    data = bytearray(Path(zipped(image_folder, path)).read_bytes())
    position = data.find(b"IDAT") + 8
    data[position : position + 4] = b"\0\0\0\0"
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged.zip/cat/a.png is not a readable image"):
        open_source(config_for(f"folder:{path}")).load(np.arange(4))


def gradient_image(mode):
    ramp = np.linspace(0, 255, 40, dtype=np.uint8)[None].repeat(20, 0)
    return Image.fromarray(ramp).convert(mode)


def test_16_bit_grey_keeps_its_range():
    ramp = np.linspace(0, 65_535, 16).round().astype(np.uint16)[None].repeat(16, 0)
    image = square_rgb(Image.fromarray(ramp), 16)
    np.testing.assert_array_equal(image[3, :, 1], (ramp[0] / 257).round())


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "CMYK", "1"])
def test_any_mode_becomes_square_rgb(mode):
    image = square_rgb(gradient_image(mode), 16)
    assert (image.shape, image.dtype) == ((16, 16, 3), np.uint8)
    assert image[8, 1].mean() < 100 < 150 < image[8, 14].mean()


def test_crop_is_central_and_the_right_size_passes_unchanged():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_array_equal(square_rgb(Image.fromarray(pixels), 16), pixels)
    wide = np.concatenate([np.zeros_like(pixels), pixels, np.zeros_like(pixels)], axis=1)
    np.testing.assert_array_equal(square_rgb(Image.fromarray(wide), 16), pixels)


@pytest.mark.parametrize("image", [Image.new("F", (16, 16), 0.5), Image.new("I", (16, 16), 70_000)])
def test_pixels_of_unknown_range_are_refused(image):
    with pytest.raises(ValueError, match="no known range"):
        square_rgb(image, 16)


def test_the_whole_image_can_be_squeezed():
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, :16] = 255
    squeezed = square_rgb(Image.fromarray(wide), 16, crop="squeeze")
    assert squeezed[8, 2, 0] > 240
    assert squeezed[8, 12, 0] < 15
    assert square_rgb(Image.fromarray(wide), 16).max() == 0


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_averages_fine_stripes_away(name):
    """A filter that is not antialiased would pick single stripes."""
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small = square_rgb(Image.fromarray(stripes), 16, filter_name=name)
    assert np.abs(small[2:-2, 2:-2].astype(int) - 127.5).max() < 4


def test_camera_orientation_is_applied():
    image = Image.new("RGB", (16, 16), "black")
    image.paste("white", (0, 0, 8, 16))
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees
    assert square_rgb(image, 16)[2, 8, 0] == 255


def test_transparent_pixels_become_white():
    assert (square_rgb(Image.new("RGBA", (16, 16), (0, 0, 0, 0)), 16) == 255).all()


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


def test_arrays_are_a_source_with_and_without_classes():
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    unlabelled, labelled = ArrayImages("a", images), ArrayImages("b", images, np.arange(6, dtype=np.int32) % 2, "xy")
    for source in (unlabelled, labelled):
        check_source(source, 16)
    assert unlabelled.class_names == ("all",)
    assert unlabelled.load(np.array([5, 0]))[1].tolist() == [0, 0]
    assert labelled.load(np.array([5, 0]))[1].tolist() == [1, 0]
    assert unlabelled.content_hash() != labelled.content_hash()


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
