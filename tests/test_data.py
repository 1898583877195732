"""Order, sources, transforms and batches."""

import numpy as np
import pytest
from conftest import load_config
from ml_collections import ConfigDict
from PIL import Image

from sagan_jax.data.digits import Digits
from sagan_jax.data.folder import ImageFolder
from sagan_jax.data.order import image_index
from sagan_jax.data.pipeline import Pipeline, resolve_num_classes
from sagan_jax.data.source import open_source
from sagan_jax.data.transforms import random_flip, square_rgb, to_signed_float, to_uint8
from sagan_jax.errors import InputError


class Numbered:
    """Ten one-pixel images whose value and label are their index."""

    name = "numbered"
    class_names = tuple("abcdefghij")

    def __len__(self):
        return 10

    def load(self, index):
        return np.full((1, 1, 3), index, np.uint8), index


def pipeline(source, **changes):
    options = {"seed": 0, "updates": 2, "batch_size": 4, "read_threads": 2, "prefetch_steps": 2, "conditional": True}
    return Pipeline(source, **(options | changes))


def test_every_image_comes_once_per_epoch_in_another_order():
    epochs = [[image_index(7, epoch * 10 + i, 10) for i in range(10)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert epochs[0] != [image_index(8, i, 10) for i in range(10)]


def test_batches_are_a_function_of_seed_and_step():
    source = Numbered()
    run = list(pipeline(source).batches(0, 5))
    resumed = list(pipeline(source).batches(3, 5))
    for step, batch in enumerate(run):
        np.testing.assert_array_equal(batch.labels, pipeline(source).batch_for_step(step).labels)
    np.testing.assert_array_equal(resumed[0].images, run[3].images)
    assert run[0].images.shape == (2, 4, 1, 1, 3)
    assert run[0].images.dtype == np.uint8
    # 5 steps of 8 are 4 epochs of 10, across the borders of steps.
    seen = np.concatenate([batch.labels.ravel() for batch in run])
    assert (np.bincount(seen) == 4).all()


@pytest.mark.parametrize("count", [2, 4])
def test_processes_read_their_own_slice_of_the_same_batch(monkeypatch, count):
    whole = pipeline(Numbered()).batch_for_step(1)
    parts = []
    for index in range(count):
        monkeypatch.setattr("jax.process_count", lambda: count)
        monkeypatch.setattr("jax.process_index", lambda index=index: index)
        parts.append(pipeline(Numbered()).batch_for_step(1).labels)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole.labels)


def test_labels_are_dropped_for_an_unconditional_model():
    assert (pipeline(Numbered(), conditional=False).batch_for_step(0).labels == 0).all()


def test_label_out_of_range_is_refused():
    source = Numbered()
    source.class_names = ("a", "b")
    with pytest.raises(InputError, match="numbered has the label .* out of range: with 2 classes"):
        pipeline(source).batch_for_step(0)


def test_digits_are_the_real_ones():
    digits = Digits(16)
    assert len(digits) == 1797
    image, label = digits.load(0)
    assert (image.shape, image.dtype, label) == ((16, 16, 3), np.uint8, 0)
    assert (image[..., 0] == image[..., 1]).all()
    assert np.bincount(digits.labels).min() > 150


def config_for(source, num_classes=10):
    return ConfigDict(
        {"data": {"source": source, "resolution": 16, "split": "train", "data_dir": ""},
         "model": {"num_classes": num_classes}}
    )  # fmt: skip


def test_number_of_classes_must_fit_the_data():
    assert resolve_num_classes(config_for("digits", -1), Digits(16)) == 10
    assert resolve_num_classes(config_for("digits", 0), Digits(16)) == 0
    with pytest.raises(InputError, match="model.num_classes = 5, but digits has 10 classes"):
        resolve_num_classes(config_for("digits", 5), Digits(16))


@pytest.mark.parametrize("source", ["mnist", "folder:", "digits:8", "tfds:"])
def test_unknown_source_lists_the_kinds(source):
    with pytest.raises(InputError, match=f"data.source = '{source}' is unknown: .*digits.*tfds:NAME.*folder:PATH"):
        open_source(config_for(source))


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
    images, labels = zip(*(source.load(i) for i in range(4)), strict=True)
    assert labels == (0, 0, 1, 1)
    assert all(image.shape == (16, 16, 3) for image in images)
    assert images[0][8, 8].argmax() == 2
    assert images[3][8, 8].argmax() == 0


def test_folder_errors_name_the_place(image_folder, tmp_path):
    with pytest.raises(InputError, match=r"data.source = 'folder:/nowhere'.*no such folder"):
        ImageFolder("/nowhere", 16)
    (image_folder / "bird").mkdir()
    with pytest.raises(InputError, match="class folder .*bird has no image"):
        ImageFolder(str(image_folder), 16)
    (image_folder / "bird" / "x.png").write_bytes(b"broken")
    source = ImageFolder(str(image_folder), 16)
    with pytest.raises(InputError, match="bird/x.png is not a readable image"):
        source.load(0)
    flat = tmp_path / "cat" / "deep"
    with pytest.raises(InputError, match="has no subfolders"):
        ImageFolder(str(flat), 16)


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


def test_camera_orientation_is_applied():
    image = Image.new("RGB", (16, 16), "black")
    image.paste("white", (0, 0, 8, 16))
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees
    assert square_rgb(image, 16)[2, 8, 0] == 255


def test_transparent_pixels_become_white():
    assert (square_rgb(Image.new("RGBA", (16, 16), (0, 0, 0, 0)), 16) == 255).all()


def test_float_conversion_round_trips_every_value():
    values = np.arange(256, dtype=np.uint8)
    signed = to_signed_float(values)
    assert (signed.min(), signed.max()) == (-1, 1)
    np.testing.assert_array_equal(to_uint8(signed), values)


def test_flip_mirrors_about_half_of_the_images():
    import jax

    images = np.broadcast_to(np.arange(4.0)[None, None, :, None], (400, 1, 4, 1))
    flipped = np.asarray(random_flip(images, jax.random.key(0)))
    mirrored = flipped[:, 0, 0, 0] == 3
    assert 150 < mirrored.sum() < 250
    np.testing.assert_array_equal(flipped[mirrored][0, 0, :, 0], [3, 2, 1, 0])
    np.testing.assert_array_equal(flipped[~mirrored][0, 0, :, 0], [0, 1, 2, 3])


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
