"""CIFAR as its authors distribute it: pickles of Python 2 in a tar archive or a folder, read without running them."""

import os
import pickle
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image
from sources import run_prepare, source_config

from sagan_jax.data.cifar import open_cifar
from sagan_jax.data.files import open_listing
from sagan_jax.data.prepared import open_prepared
from sagan_jax.data.source import open_source
from sagan_jax.errors import InputError

NAMES, FINE = ("bird", "ship", "frog"), ("beaver", "orchid", "bowl")


def pickled(value):
    """What Python 2 writes, with byte strings for texts; Python 3 cannot."""

    def written(x):
        if isinstance(x, str):
            return b"T" + struct.pack("<i", len(x)) + x.encode()
        if isinstance(x, bytes):
            return b"T" + struct.pack("<i", len(x)) + x
        if isinstance(x, bool):
            return b"\x88" if x else b"\x89"
        if isinstance(x, int):
            return b"J" + struct.pack("<i", x)
        if x is None:
            return b"N"
        if isinstance(x, list):
            return b"](" + b"".join(map(written, x)) + b"e"
        if isinstance(x, tuple):
            return b"(" + b"".join(map(written, x)) + b"t"
        if isinstance(x, np.ndarray):
            empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + written((0,)) + b"U\x01btR"
            kind = (
                b"cnumpy\ndtype\n"
                + written(("u1", 0, 1))
                + b"R"
                + written((3, "|", None, None, None, -1, -1, 0))
                + b"b"
            )
            return empty + b"(" + written(1) + written(x.shape) + kind + written(False) + written(x.tobytes()) + b"tb"
        return b"}(" + b"".join(written(key) + written(item) for key, item in x.items()) + b"u"

    return b"\x80\x02" + written(value) + b"."


def images_of(batch):
    return np.random.default_rng(batch).integers(0, 256, (2, 32, 32, 3), np.uint8)


def batch(number, labels_key="labels"):
    pixels = np.ascontiguousarray(images_of(number).transpose(0, 3, 1, 2)).reshape(2, -1)
    return pickled({"batch_label": "a batch", labels_key: [number % 3, 2], "data": pixels, "filenames": ["a", "b"]})


@pytest.fixture
def cifar(tmp_path):
    """Both data sets in small, as torchvision unpacks them; and the archive of the first."""
    ten, hundred = tmp_path / "cifar-10-batches-py", tmp_path / "cifar-100-python"
    ten.mkdir()
    hundred.mkdir()
    (ten / "readme.html").write_text("CIFAR")
    (ten / "batches.meta").write_bytes(pickled({"label_names": list(NAMES), "num_vis": 3072}))
    for number in range(1, 6):
        (ten / f"data_batch_{number}").write_bytes(batch(number))
    (ten / "test_batch").write_bytes(batch(6))
    (hundred / "meta").write_bytes(pickled({"fine_label_names": list(FINE), "coarse_label_names": ["x"]}))
    (hundred / "train").write_bytes(batch(7, "fine_labels"))
    (hundred / "test").write_bytes(batch(8, "fine_labels"))
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(ten, ten.name)
    return tmp_path


# A path, the batches that it means, and the classes.
PATHS = {
    "cifar-10-python.tar.gz": ((1, 2, 3, 4, 5), NAMES),
    "cifar-10-batches-py": ((1, 2, 3, 4, 5), NAMES),
    "cifar-10-batches-py/test_batch": ((6,), NAMES),
    "cifar-10-batches-py/data_batch_2": ((2,), NAMES),
    "cifar-100-python": ((7,), FINE),
    "cifar-100-python/test": ((8,), FINE),
    ".": ((1, 2, 3, 4, 5), NAMES),  # torchvision's root
}


@pytest.mark.parametrize("path", PATHS)
def test_batches_are_images_with_their_classes(cifar, path):
    batches, names = PATHS[path]
    config = source_config(f"folder:{cifar / path}", 3)
    config.data.resolution = 32
    source = open_source(config)
    images, labels = source.load(np.arange(len(source)))
    np.testing.assert_array_equal(images, np.concatenate([images_of(number) for number in batches]))
    assert labels.tolist() == source.labels.tolist() == [x for number in batches for x in (number % 3, 2)]
    assert source.class_names == names
    assert bool(source.remarks) == (len(batches) > 1 or path == "cifar-100-python")


def test_the_archive_is_prepared_as_the_folder(cifar):
    for name in ("cifar-10-python.tar.gz", "cifar-10-batches-py"):
        assert run_prepare(source=cifar / name, out=cifar / f"out-{name}") == 0
    archive, folder = (
        open_prepared(str(cifar / f"out-{name}"), 16) for name in ("cifar-10-python.tar.gz", "cifar-10-batches-py")
    )
    assert archive.content_hash() == folder.content_hash()
    assert archive.class_names == NAMES


class Attack:
    def __reduce__(self):
        return os.system, ("touch attacked",)


DAMAGE = {
    "a command": (pickle.dumps(Attack(), 2), "is damaged .it names .*system, which is no array"),
    "cut": (batch(3)[:900], "is damaged"),
    "no images": (pickled({"labels": [0]}), "is damaged .'data'"),
    "wrong labels": (batch(3).replace(pickled([0, 2])[2:-1], pickled([0, 9])[2:-1]), "labels and images do not fit"),
    "missing": (None, "has no data_batch_3: download it again"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_batches_are_named_and_never_run(cifar, monkeypatch, case):
    data, words = DAMAGE[case]
    monkeypatch.chdir(cifar)
    file = cifar / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(data) if data is not None else file.unlink()
    with pytest.raises(InputError, match=words):
        open_cifar(str(file.parent))
    assert not (cifar / "attacked").exists()


def test_other_archives_are_refused_and_other_folders_are_none(cifar):
    Image.new("RGB", (8, 8)).save(cifar / "a.png")
    with tarfile.open(cifar / "others.tar", "w") as archive:
        archive.add(cifar / "a.png", "cat/a.png")
    with pytest.raises(InputError, match="others.tar is a tar archive but not that of CIFAR: unpack it"):
        open_listing([str(cifar / "others.tar")])
    (cifar / "cut.tar.gz").write_bytes((cifar / "cifar-10-python.tar.gz").read_bytes()[:200])
    with pytest.raises(InputError, match="cut.tar.gz is damaged"):
        open_listing([str(cifar / "cut.tar.gz")])
    (cifar / "images" / "train").mkdir(parents=True)
    (cifar / "images" / "meta").mkdir()
    assert open_cifar(str(cifar / "images" / "train")) is None
    with pytest.raises(InputError, match="there is no folder or zip archive .*gone.tar.gz"):
        open_listing([str(cifar / "gone.tar.gz")])
