"""TFDS data: fields of every kind, splits, versions, and records that cannot be read."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from sagan_jax.data.overview import class_examples, class_overview
from sagan_jax.data.source import open_source
from sagan_jax.data.tfds_features import check_image, class_names_of
from sagan_jax.data.tfds_source import TfdsImages
from sagan_jax.errors import InputError

F = tfds.features
IMAGE, LABEL, NUMBER = F.Image(), F.ClassLabel(names=["cat", "dog"]), F.Tensor(shape=(), dtype=np.int64)
# Features, the wanted keys of image and label, and the class names or what is said.
FIELDS = {
    "usual": ({"image": IMAGE, "label": LABEL}, "image", "label", ("cat", "dog")),
    "16 bits": ({"image": F.Image(dtype=np.uint16, shape=(None, None, 1))}, "image", "label", ("all",)),
    "own keys": ({"photo": IMAGE, "kind": LABEL}, "photo", "kind", ("cat", "dog")),
    "no label wanted": ({"image": IMAGE, "label": NUMBER}, "image", "", ("all",)),
    "no label": ({"image": IMAGE, "id": NUMBER}, "image", "label", ("all",)),
    "video": ({"image": F.Video((None, 8, 8, 3)), "still": IMAGE}, "image", "label",
              "data.image_key = 'image' of tfds:x is no Image but Video: set it to 'still'"),
    "segmentation": ({"image": F.LabeledImage(labels=3)}, "image", "label", "is no Image but LabeledImage: choose"),
    "floats": ({"image": F.Image(dtype=np.float32, shape=(None, None, 1))}, "image", "label",
               "has float32 pixels, whose range is not known"),
    "no image": ({"photo": IMAGE, "label": LABEL}, "image", "label",
                 r"'image' is no field of .* have label \(ClassLabel\), photo \(Image\): set it to 'photo'"),
    "numbers": ({"image": IMAGE, "label": NUMBER}, "image", "label",
                "data.label_key = 'label' of tfds:x is no ClassLabel but Tensor of int64, .*: set it to ''"),
    "several labels": ({"image": IMAGE, "label": F.Sequence(LABEL)}, "image", "label",
                       "is no ClassLabel but Sequence of ClassLabel"),
    "text": ({"image": IMAGE, "label": F.Text()}, "image", "label", "is no ClassLabel but Text"),
    "another name": ({"image": IMAGE, "breed": LABEL}, "image", "label",
                     "is no field of .*: set it to 'breed', or to '' for images without classes"),
    "numbers called class": ({"image": IMAGE, "class": NUMBER}, "image", "label", "set it to 'class', or to ''"),
    "wrong key": ({"image": IMAGE, "label": LABEL}, "image", "lable", "label_key = 'lable' .* set it to 'label', or"),
}  # fmt: skip


@pytest.mark.parametrize("case", FIELDS)
def test_fields_of_a_wrong_kind_are_refused(case):
    features, image_key, label_key, expected = FIELDS[case]

    def names():
        check_image("x", features, image_key)
        return class_names_of("x", features, label_key)

    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            names()
    else:
        assert names() == expected


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """Twelve grey images with fields of unusual names, as ArrayRecord."""
    pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("tfds")
    examples = [(i, {"photo": np.full((20, 20, 3), 20 * i, np.uint8), "kind": i % 2}) for i in range(12)]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="flowers",
        version="1.0.0",
        features=F.FeaturesDict({"photo": F.Image(), "kind": F.ClassLabel(names=["iris", "rose"])}),
        split_datasets={"train": examples},
        data_dir=folder,
        file_format="array_record",
    )
    return folder


def opened(folder, name="flowers", **changes):
    data = {"source": f"tfds:{name}", "split": "train", "data_dir": str(folder), "resolution": 16}
    config = ConfigDict({"data": data | {"image_key": "photo", "label_key": "kind"} | changes})
    return open_source(config)


def test_fields_of_other_names_are_read(flowers):
    source = opened(flowers)
    images, labels = source.load(np.arange(12))
    assert source.class_names == ("iris", "rose")
    assert [int(image[8, 8, 0]) // 20 % 2 for image in images] == labels.tolist()
    unlabelled = opened(flowers, label_key="")
    assert unlabelled.load(np.arange(12))[1].tolist() == [0] * 12
    assert unlabelled.remarks == ("the records of tfds:flowers have kind, photo, none of them read as a class",)
    assert len({source.name, unlabelled.name}) == 2


@pytest.mark.parametrize("sample", [4, 1024])
def test_classes_and_real_images_are_shown_of_a_sample(flowers, monkeypatch, sample):
    monkeypatch.setattr("sagan_jax.data.encoded.SAMPLE", sample)
    source = opened(flowers)
    table = class_overview(source)
    if sample < 12:
        assert table.pop(0) == "of 4 of the 12 images, which do not list their labels"
    counts = [int(line.split()[2]) for line in table[1:]]
    assert counts == [6, 6] if sample > 12 else sum(counts) == 4
    for label, count, row in zip((0, 1), counts, class_examples(source, (0, 1), 3), strict=True):
        greys = row[:, 8, 8, 0]
        assert len(np.unique(greys)) == (min(3, count) or 1)
        assert set(greys // 20 % 2) == {label} if count else set(greys) == {128}


def test_a_stream_has_a_sample_too(imagenet):
    source = opened(imagenet, "imagenet2012", image_key="image", label_key="label")
    table = class_overview(source)
    assert len(table) == 1001
    assert [int(line.split()[0]) for line in table[1:] if line.split()[2] == "1"] == list(range(0, 1000, 90))
    shown, missing = class_examples(source, [90, 5], 2)
    assert shown.std() > 3
    assert (missing == 128).all()


# What is asked for, and what is said.
WRONG = {
    "more than there is": ({"split": "train[:80]"},
        r"data.split = 'train\[:80\]' cannot be taken from tfds:flowers .*\[:80\] incompatible with 12 examples.*"
        r"it has train \(12 images\)"),
    "unknown split": ({"split": "trane"}, "Unknown split 'trane'"),
    "no split": ({"split": ""}, "cannot be taken from tfds:flowers"),
    "negative": ({"split": "train[5:3]"}, "has no images: choose a larger part"),
    "unknown version": ({"name": "flowers:9.9.9"}, "tfds:flowers:9.9.9'.* has it only as tfds:flowers:1.0.0"),
    "no version": ({"name": "flowers:newest"}, "has it only as tfds:flowers:1.0.0"),
    "a known set's version": ({"name": "cifar10:9.9.9"}, r"\(Dataset cifar10 cannot be loaded at version 9.9.9"),
    "no name": ({"name": "My Flowers"}, "cannot be opened .*: check name and version"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_the_true_reason_is_said(flowers, case):
    changes, words = WRONG[case]
    with pytest.raises(InputError, match=words):
        opened(flowers, **changes)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("dataset_info.json", r"cannot be opened \(Failed to load JSON"),
        ("features.json", r"cannot be opened \("),
        ("flowers-train.array_record-00000-of-00001", r"the records of tfds:flowers 1.0.0 train .* cannot be read \("),
    ],
)
def test_damage_is_named(flowers, tmp_path, file, words):
    for source in (flowers / "flowers" / "1.0.0").iterdir():
        copy = tmp_path / "flowers" / "1.0.0" / source.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    (copy.parent / file).write_bytes((copy.parent / file).read_bytes()[:20])
    with pytest.raises(InputError, match=words):
        opened(tmp_path).load(np.arange(2))
    if file.startswith("flowers"):
        with pytest.raises(InputError, match=words):
            list(TfdsImages("flowers", "train", str(tmp_path), "photo", "kind").shard(0, 1))
