"""Folders and zips of image files as sources."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sources import same_images, source_config, zipped

from sagan_jax.data.encoded import EncodedImage, decode
from sagan_jax.data.files import ImageFiles
from sagan_jax.data.source import open_source
from sagan_jax.errors import InputError


def test_folder_has_a_class_per_subfolder(image_folder):
    source = open_source(source_config(f"folder:{image_folder}", 2))
    assert (source.class_names, len(source)) == (("cat", "dog"), 4)
    images, labels = source.load(np.arange(4))
    assert list(labels) == list(source.labels) == [0, 0, 1, 1]
    assert images.shape == (4, 16, 16, 3)
    assert images[0, 8, 8].argmax() == 2
    assert images[3, 8, 8].argmax() == 0
    assert ImageFiles([str(image_folder)]).remarks == ("left out: 1 file not read: 1 .txt",)


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


def test_shards_are_even_and_complete(image_folder):
    files = ImageFiles([str(image_folder)])
    shards = [[file.name for file in files.shard(index, 3)] for index in range(3)]
    assert [len(shard) for shard in shards] == [2, 1, 1]
    assert [name for shard in shards for name in shard] == [files.file(index).name for index in range(4)]


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
        open_source(source_config("folder:/nowhere"))
    with pytest.raises(InputError, match=r"nothing is called .*part-\*.zip"):
        ImageFiles([str(out / "part-*.zip")])
    (image_folder / "cat" / "a.png").write_bytes(b"broken")
    with pytest.raises(InputError, match="cat/a.png is not a readable image"):
        open_source(source_config(f"folder:{image_folder}")).load(np.array([0]))
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
        open_source(source_config(f"folder:{path}")).load(np.arange(4))
