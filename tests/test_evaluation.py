"""Scores of images: features, resizing, real against real, protocol, and input that cannot be compared."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image, ImageFilter

from sagan_jax.config import default_config
from sagan_jax.data.arrays import ArrayImages
from sagan_jax.data.digits import Digits
from sagan_jax.errors import InputError
from sagan_jax.evaluation import comparison
from sagan_jax.evaluation.comparison import Real, compare, extractor_for, neighbour_sheet, real_images
from sagan_jax.evaluation.comparison import samples_of as samples
from sagan_jax.evaluation.image_sets import open_real, open_samples, random_order, read_batches
from sagan_jax.evaluation.record import read_evaluation
from sagan_jax.evaluation.reference import read_statistics, reference_features
from sagan_jax.features.extraction import FeatureSet, extract_features
from sagan_jax.features.extractor import Extractor, check_extractor, open_extractor
from sagan_jax.features.resizing import resize_matrix, resized
from sagan_jax.metrics.moments import moments_of
from sagan_jax.runtime.sharding import make_mesh

DIGITS = Digits(16)
TRAIN, TEST = np.arange(0, 1797, 2), np.arange(1, 1797, 2)


def part(indices, images=None):
    return ArrayImages("part", DIGITS.class_names, (DIGITS.images if images is None else images)[indices],
                       DIGITS.labels[indices])  # fmt: skip


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(jax.devices()[:2])


@pytest.fixture(scope="module")
def classifier():
    return extractor_for("classifier", "", "legacy", part(TRAIN))


@pytest.fixture(scope="module")
def real(classifier, mesh, tmp_path_factory):
    return real_images(classifier, part(TRAIN), None, 64, str(tmp_path_factory.mktemp("cache")), mesh)


def scores(classifier, real, mesh, fake):
    return compare(classifier, real, samples(fake, real.source, 64), mesh)[0]


@pytest.mark.parametrize("size", [32, 299, 400])
def test_legacy_resize_is_that_of_tensorflow_1(size):
    """Written out: the source of pixel i is i * size / 299, between its two neighbours, without antialiasing."""
    matrix = resize_matrix(size, 299, "legacy")
    signal = np.random.default_rng(0).random(size)
    expected = []
    for i in range(299):
        position = i * size / 299
        low = int(np.floor(position))
        high = min(low + 1, size - 1)
        expected.append(signal[low] + (signal[high] - signal[low]) * (position - low))
    np.testing.assert_allclose(matrix @ signal, expected, atol=1e-6)


@pytest.mark.parametrize("size", [20, 128, 400])
def test_clean_resize_is_that_of_pillow_in_floating_point(size):
    image = np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)
    channels = [Image.fromarray(image[..., c].astype(np.float32)) for c in range(3)]
    expected = [np.asarray(c.resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255) for c in channels]
    np.testing.assert_allclose(resized(image[None], 299, "clean")[0], np.stack(expected, -1), atol=2e-2)


@pytest.mark.parametrize("method", ["legacy", "clean"])
def test_images_of_the_right_size_stay_as_they_are(method):
    image = np.random.default_rng(0).integers(0, 256, (1, 299, 299, 3), np.uint8)
    np.testing.assert_array_equal(resized(image, 299, method), image)


def test_real_against_real_is_near_0_and_damage_makes_it_worse(classifier, real, mesh):
    random = np.random.default_rng(0)
    noisy = np.clip(DIGITS.images + random.normal(0, 40, DIGITS.images.shape), 0, 255).astype(np.uint8)
    blurred = np.stack(
        [np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(2))) for image in DIGITS.images]
    )
    floor = scores(classifier, real, mesh, part(TEST)).values
    assert floor["fd_classifier"] < 0.15
    assert abs(floor["kd_classifier"]) < 0.01
    assert floor["precision"] > 0.75  # the network knows the real images better, since it learnt from these
    assert min(floor["recall"], floor["coverage"], floor["label_accuracy"]) > 0.9
    for images in (noisy, blurred):
        damaged = scores(classifier, real, mesh, part(TEST, images)).values
        assert damaged["fd_classifier"] > 4 * floor["fd_classifier"]
        assert damaged["kd_classifier"] > floor["kd_classifier"] + 0.01
        assert damaged["density"] < floor["density"]
    without = scores(classifier, real, mesh, part(TEST[DIGITS.labels[TEST] < 6]))
    assert without.values["fd_classifier"] > 4 * floor["fd_classifier"]
    assert without.values["coverage"] < 0.7
    assert "there are no generated images of 6, 7, 8 and 1 more" in without.cautions


def test_a_class_under_the_wrong_name_shows_in_the_class_scores_only(classifier, real, mesh):
    right = scores(classifier, real, mesh, part(TEST))
    images = part(TEST)
    images.labels = (images.labels + 1) % 10
    wrong = scores(classifier, real, mesh, images)
    assert wrong.values["fd_classifier"] == pytest.approx(right.values["fd_classifier"])
    assert wrong.values["label_accuracy"] < 0.05
    assert wrong.values["intra_class_fd_classifier"] > 10 * right.values["intra_class_fd_classifier"]


def test_features_do_not_depend_on_devices_or_batches(classifier, mesh):
    whole = extract_features(classifier, read_batches(DIGITS, np.arange(90), 90), 90, "", make_mesh(jax.devices()[:1]))
    parts = extract_features(classifier, read_batches(DIGITS, np.arange(90), 40), 90, "", mesh)
    np.testing.assert_allclose(whole.features, parts.features, atol=1e-4)
    np.testing.assert_array_equal(whole.labels, parts.labels)
    np.testing.assert_allclose(whole.moments.covariance, np.cov(whole.features, rowvar=False), atol=1e-6)


def test_real_features_are_kept_under_their_content(classifier, mesh, tmp_path, capsys):
    def features(source, extractor=classifier, count=100):
        return reference_features(extractor, source, count, 50, str(tmp_path), mesh)

    def fail(*_):
        raise AssertionError("computed again")

    first = features(DIGITS)
    broken = dataclasses.replace(classifier, function=fail)
    again = features(Digits(16), broken)
    np.testing.assert_array_equal(again.features, first.features)
    np.testing.assert_array_equal(again.moments.covariance, first.moments.covariance)
    np.testing.assert_array_equal(again.labels, DIGITS.labels[random_order(DIGITS, 100)])
    changed = Digits(16)
    changed.images = changed.images.copy()
    changed.images[0, 0, 0] ^= 1
    for source, count in ((changed, 100), (DIGITS, 99)):
        with pytest.raises(AssertionError, match="computed again"):
            features(source, broken, count)
    whole = np.array(first.features)  # not mapped from the file
    for file in (tmp_path / "features").glob("*/features.npy"):
        part_of_it = file.read_bytes()[:100]
        file.unlink()
        file.write_bytes(part_of_it)
    np.testing.assert_array_equal(features(DIGITS).features, whole)
    assert not list((tmp_path / "features").glob(".*"))
    assert "is damaged; the features are computed again" in capsys.readouterr().out


def test_statistics_of_another_program_give_the_frechet_distance_only(classifier, real, mesh, tmp_path):
    moments = real.features.moments
    np.savez(tmp_path / "stats.npz", mu=moments.mean, sigma=moments.covariance)
    statistics = read_statistics(tmp_path / "stats.npz")
    fake = samples(part(TEST), None, 64)
    evaluation, features = compare(classifier, Real(None, statistics, {}), fake, mesh)
    assert set(evaluation.values) == {"fd_classifier", "is_classifier"}
    expected = scores(classifier, real, mesh, part(TEST)).values["fd_classifier"]
    assert evaluation.values["fd_classifier"] == pytest.approx(expected, rel=1e-9)
    assert neighbour_sheet(Real(None, statistics, {}), features, DIGITS.images[:2], "") is None
    np.savez(tmp_path / "small.npz", mu=moments.mean[:5], sigma=moments.covariance[:5, :5])
    with pytest.raises(InputError, match="5 dimensions, but classifier gives 64"):
        compare(classifier, Real(None, read_statistics(tmp_path / "small.npz"), {}), fake, mesh)
    np.savez(tmp_path / "odd.npz", mu=moments.mean, sigma=moments.mean)
    with pytest.raises(InputError, match="sigma of shape"):
        read_statistics(tmp_path / "odd.npz")


def test_copies_of_real_images_are_seen(classifier, real, mesh, monkeypatch):
    copies = samples(part(TRAIN[:8]), real.source, 8)
    _, fake = compare(classifier, real, copies, mesh)
    images, _ = next(copies.batches())
    monkeypatch.setattr(comparison, "sample_sheet", lambda rows, row_names, title: (rows, row_names))
    rows, row_names = neighbour_sheet(real, fake, images, "title")
    assert row_names == ["0.00"] * 8
    np.testing.assert_array_equal(rows[:, 0], images)
    np.testing.assert_array_equal(rows[:, 1], images)


def test_an_evaluation_is_written_and_shown_whole(classifier, real, mesh, tmp_path):
    evaluation = scores(classifier, real, mesh, part(TEST[:40]))
    evaluation.save(tmp_path / "deep" / "scores.json")
    assert read_evaluation(tmp_path / "deep" / "scores.json").scores == evaluation.scores
    saved = json.loads((tmp_path / "deep" / "scores.json").read_text())
    assert saved["protocol"]["real"] == {
        "data": "part", "images": 899, "of": 899, "sha256": part(TRAIN).content_hash()
    }  # fmt: skip
    assert saved["protocol"]["features"]["network"] == "classifier"
    text = "\n".join(evaluation.lines())
    for expected in ("FD-classifier ↓", "over 100 subsets of 40", "images 40", "real images 899"):
        assert expected.removeprefix("real ") in text
    assert "40 generated images are fewer than the 64 dimensions of classifier" in " ".join(text.split())


def test_names_say_in_which_features_a_score_was_measured():
    def name(extractor, resize, standard):
        return Extractor(extractor, {"resize": resize}, None, lambda *_: {}).score_name(standard)

    assert name("inception2015", "legacy", "FID") == "FID"
    assert name("inception2015", "clean", "KID") == "clean-KID"
    assert name("inception2015:768", "legacy", "FID") == "FD-inception768"
    assert name("inception2015:768", "clean", "intra-class FID") == "intra-class FD-inception768"
    assert name("resnet56_cifar10", "legacy", "KID") == "KD-resnet56_cifar10"


def test_features_that_are_not_finite_are_an_error(classifier, mesh):
    poisoned = dataclasses.replace(classifier, variables=jax.tree.map(lambda x: x * np.nan, classifier.variables))
    with pytest.raises(InputError, match=r"images 0 to 9 .* are not finite: the weights of classifier"):
        extract_features(poisoned, read_batches(DIGITS, np.arange(10), 10), 10, "digits", mesh)


def test_feature_networks_that_do_not_fit_are_refused(mesh):
    for arguments, message in (
        (("inception", "legacy"), "'inception' is unknown: choose from inception2015"),
        (("inception2015", "bicubic"), "resize = 'bicubic' is unknown"),
    ):
        with pytest.raises(InputError, match=message):
            check_extractor(*arguments)
    with pytest.raises(InputError, match="needs the file of its weights"):
        open_extractor("resnet56_cifar10", "", "legacy", lambda _: None, 10)
    with pytest.raises(InputError, match="learns to tell classes apart"):
        open_extractor("classifier", "", "legacy", lambda _: None, 1)
    with pytest.raises(InputError, match="learns from real images"):
        extractor_for("classifier", "", "legacy", None)
    fixed = Extractor("resnet56_cifar10", {}, {}, lambda _, x: {"features": x}, side=32)
    with pytest.raises(InputError, match="takes images of 32x32 pixels, not 16x16"):
        extract_features(fixed, read_batches(DIGITS, np.arange(4), 4), 4, "", mesh)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((4, 8, 8, 3), np.float32)}, "float32 images of shape .* must be square RGB"),
        ({"images": np.zeros((4, 8, 9, 3), np.uint8)}, "must be square RGB"),
        ({"arr_0": np.zeros((4, 3, 8, 8), np.uint8)}, "must be square RGB"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8)}, "must be square RGB"),
        ({"pictures": np.zeros((4, 8, 8, 3), np.uint8)}, "has no array images, samples, arr_0, but pictures"),
        ({"images": np.zeros((4, 8, 8, 3), np.uint8), "labels": np.zeros(3, int)}, "labels of shape .* for 4 images"),
        ({"images": np.zeros((4, 8, 8, 3), np.uint8), "labels": np.zeros(4)}, "float64 labels"),
        ({"images": np.zeros((4, 8, 8, 3), np.uint8), "labels": np.full(4, -1)}, "whole numbers from 0 on"),
    ],
)
def test_arrays_that_cannot_be_scored_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "fake.npz", **arrays)
    with pytest.raises(InputError, match=message):
        open_samples(str(tmp_path / "fake.npz"))


def test_files_that_cannot_be_scored_are_refused(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        open_samples(str(tmp_path / "none.npz"))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(InputError, match="is damaged"):
        open_samples(str(tmp_path / "broken.npz"))
    (tmp_path / "folder").mkdir()
    for i, size in enumerate([(20, 20), (20, 20), (20, 21)]):
        Image.new("RGB", size).save(tmp_path / "folder" / f"{i}.png")
    with pytest.raises(InputError, match=r"2.png has 20x21 pixels, but the first image is 20 wide"):
        open_samples(str(tmp_path / "folder"))
    (tmp_path / "folder" / "2.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"2.png is not a readable image"):
        open_samples(str(tmp_path / "folder"))


def test_samples_pass_unchanged_with_the_labels_of_their_folders(tmp_path):
    for label in (3, 7):
        (tmp_path / str(label)).mkdir()
        Image.fromarray(DIGITS.images[label]).save(tmp_path / str(label) / "a.png")
    generated = samples(open_samples(str(tmp_path)), DIGITS, 8)
    images, labels = next(generated.batches())
    assert sorted(labels) == [3, 7]
    np.testing.assert_array_equal(images[np.argsort(labels)], DIGITS.images[[3, 7]])
    (tmp_path / "3").rename(tmp_path / "three")
    with pytest.raises(InputError, match=r"of the class three, which the real ones lack \(0, 1, 2"):
        samples(open_samples(str(tmp_path)), DIGITS, 8)


def test_numbered_classes_stand_for_named_ones():
    numbered = ArrayImages("npz", "01", np.zeros((2, 8, 8, 3), np.uint8), np.array([1, 0], np.int32))
    named = ArrayImages("real", ("cat", "dog"), np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 1], np.int32))
    _, labels = next(samples(numbered, named, 8).batches())
    assert sorted(labels) == [0, 1]
    assert samples(numbered, named, 8).labelled
    three = ArrayImages("npz", "012", np.zeros((3, 8, 8, 3), np.uint8), np.arange(3, dtype=np.int32))
    with pytest.raises(InputError, match="of the class 2, which the real ones lack"):
        samples(three, named, 8)


def test_real_images_are_found_by_name_or_path(tmp_path):
    data = default_config().data
    data.resolution = 16
    assert open_real(data, "digits").name == "digits"
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    for name in ("cat", "dog"):
        Image.new("RGB", (40, 30)).save(tmp_path / name / "a.png")
    source = open_real(data, str(tmp_path))
    assert source.class_names == ("cat", "dog")
    assert source.load(np.arange(2))[0].shape == (2, 16, 16, 3)
    np.savez(tmp_path / "real.npz", images=np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="have 8 pixels a side, the generated ones 16"):
        open_real(data, str(tmp_path / "real.npz"))
    assert data.source == default_config().data.source


def test_nothing_is_lost_where_the_cache_cannot_be_written(classifier, mesh, tmp_path, capsys):
    (tmp_path / "file").touch()
    features = reference_features(classifier, DIGITS, 20, 10, str(tmp_path / "file"), mesh)
    assert isinstance(features, FeatureSet)
    assert features.moments.count == moments_of(features.features).count == 20
    assert "not kept for the next time" in capsys.readouterr().out
