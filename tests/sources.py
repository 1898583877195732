"""Folders, zips and streams of images, and the configs that read them."""

import zipfile

import numpy as np
from ml_collections import ConfigDict
from PIL import Image
from tiny import tiny_config

from sagan_jax import prepare


def source_config(source, num_classes=10):
    return ConfigDict(
        {"data": {"source": source, "resolution": 16, "split": "train", "data_dir": "", "cache_dir": ""},
         "model": {"num_classes": num_classes}}
    )  # fmt: skip


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


def data_config(updates=2, batch_size=4, num_classes=10, **data):
    config = tiny_config()
    config.train.update(discriminator_updates=updates, batch_size=batch_size)
    config.data.update(data)
    config.model.num_classes = num_classes
    return config


class Stream:
    """A source that can only be read in order."""

    name = "stream"
    class_names = ("a", "b")

    def __len__(self):
        return 4

    def read(self, seed, first_image, threads, ahead):
        position = first_image
        while True:
            yield np.full((1, 1, 3), position, np.uint8), position % 2
            position += 1


SIDE = 24  # of the source images
ORANGE = (240, 120, 40)


def plain(mode, **options):
    return lambda path: Image.new("RGB", (SIDE, SIDE), ORANGE).convert(mode).save(path, **options)


def write_images(folder, classes=("cat", "dog"), count=3, side=SIDE):
    """Random images, different in every file."""
    random = np.random.default_rng(len(classes))
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)).save(folder / name / f"{i}.png")
    return folder


def run_prepare(*flags, out, source, resolution=16):
    arguments = [f"--out={out}", f"--source={source}", f"--resolution={resolution}", "--workers=1", *flags]
    return prepare.main(arguments)
