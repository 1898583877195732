"""Scores of images: features, resizing, real against real, protocol, and input that cannot be compared."""

import dataclasses
import inspect
import json
import os
import shutil
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image, ImageFilter
from places import ROOT

from sagan_jax.config import default_config
from sagan_jax.data.arrays import ArrayImages
from sagan_jax.data.digits import Digits
from sagan_jax.data.pipeline import read_batches
from sagan_jax.data.resize import square_rgb
from sagan_jax.errors import InputError
from sagan_jax.evaluation import comparison
from sagan_jax.evaluation.comparison import Real, compare, extractor_for, neighbour_sheet, real_images
from sagan_jax.evaluation.comparison import samples_of as samples
from sagan_jax.evaluation.image_sets import open_real, open_samples, random_order
from sagan_jax.evaluation.record import read_evaluation
from sagan_jax.evaluation.reference import read_statistics, reference_features
from sagan_jax.evaluation.warnings import warnings_of
from sagan_jax.features import extraction
from sagan_jax.features.classifier import TrainedClassifier
from sagan_jax.features.extraction import FeatureSet, extract_features
from sagan_jax.features.extractor import Extractor, check_extractor, open_extractor
from sagan_jax.metrics import moments, neighbours
from sagan_jax.metrics.moments import moments_of
from sagan_jax.runtime.sharding import make_mesh

DIGITS = Digits(16)


TRAIN, TEST = np.arange(0, 1797, 2), np.arange(1, 1797, 2)


def part(indices, images=None):
    images = DIGITS.images if images is None else images
    return ArrayImages("part", images[indices], DIGITS.labels[indices], DIGITS.class_names)


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


def noisy(level):
    noise = np.random.default_rng(0).normal(0, level, DIGITS.images.shape)
    return part(TEST, np.clip(DIGITS.images + noise, 0, 255).astype(np.uint8))


def blurred(radius):
    images = [Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)) for image in DIGITS.images]
    return part(TEST, np.stack([np.asarray(image) for image in images]))


def test_real_against_real_is_near_0_and_more_damage_is_worse(classifier, real, mesh):
    floor = scores(classifier, real, mesh, part(TEST)).values
    assert floor["fd_classifier"] < 0.15
    assert abs(floor["kd_classifier"]) < 0.01
    assert floor["precision"] > 0.75  # the network knows the real images better, since it learnt from these
    assert min(floor["recall"], floor["coverage"], floor["label_accuracy"]) > 0.9
    for slight, strong in ((noisy(20), noisy(40)), (blurred(1), blurred(2))):
        little, much = (scores(classifier, real, mesh, images).values for images in (slight, strong))
        assert floor["fd_classifier"] < little["fd_classifier"] < much["fd_classifier"]
        assert much["fd_classifier"] > 4 * floor["fd_classifier"]
        assert much["kd_classifier"] > floor["kd_classifier"] + 0.01
        assert much["density"] < floor["density"]
    fewer, without = (scores(classifier, real, mesh, part(TEST[DIGITS.labels[TEST] < most])) for most in (8, 6))
    assert floor["fd_classifier"] < fewer.values["fd_classifier"] < without.values["fd_classifier"]
    assert without.values["fd_classifier"] > 4 * floor["fd_classifier"]
    assert without.values["coverage"] < 0.7
    assert "there are no generated images of 6, 7, 8 and 1 more" in without.warnings
    left_out = "4 of 10 classes have fewer than 2 generated or real images and are left out of the intra-class FD"
    assert any(warning.startswith(left_out) for warning in without.warnings)
    assert score_of(without, "intra_class_frechet").about.startswith("mean over 6 of 10 classes, each of at least")


def score_of(evaluation, kind):
    return next(score for score in evaluation.scores if score.kind == kind)


def test_few_images_of_a_class_are_told(classifier, real, mesh):
    """64 dimensions; the digits part has between 82 and 96 real images of each class."""
    rows = np.concatenate([TEST[DIGITS.labels[TEST] == label][: 30 + label] for label in range(10)])
    evaluation = scores(classifier, real, mesh, part(rows))
    fewest = np.bincount(DIGITS.labels[TRAIN]).min()
    about = score_of(evaluation, "intra_class_frechet").about
    assert about == f"mean over 10 of 10 classes, each of at least {fewest} real, 30 generated"
    told = [warning for warning in evaluation.warnings if warning.startswith("the smallest class has")]
    assert len(told) == 1
    assert "30 generated images, fewer than the 64 dimensions" in told[0]
    enough = scores(classifier, real, mesh, part(TEST)).warnings
    assert not [warning for warning in enough if "class" in warning]


def test_what_cannot_be_measured_is_told(classifier, mesh, tmp_path):
    singles = np.array([np.flatnonzero(DIGITS.labels == label)[0] for label in range(10)])
    few = real_images(classifier, part(singles), None, 16, str(tmp_path), mesh)
    evaluation = scores(classifier, few, mesh, part(TEST))
    assert evaluation.value_of("label_accuracy") is evaluation.value_of("intra_class_frechet") is None
    assert "label accuracy is not measured, since a class has fewer than 4 real images" in evaluation.warnings
    assert any(warning.startswith("10 of 10 classes have fewer than 2") for warning in evaluation.warnings)
    assert score_of(evaluation, "kernel").std_error is None
    assert score_of(evaluation, "kernel").about == "over 10 real, 898 generated"


def test_what_follows_from_the_real_features_is_computed_once(classifier, real, mesh, monkeypatch):
    first = scores(classifier, real, mesh, part(TEST)).values

    def fail(*_):
        raise AssertionError("computed again")

    radii, root, whole = neighbours.squared_radii, moments.factor, real.features.moments.covariance
    monkeypatch.setattr(moments, "factor", lambda c: fail() if np.array_equal(c, whole) else root(c))
    monkeypatch.setattr(extraction, "LinearClassifier", fail)
    monkeypatch.setattr(extraction, "held_out_accuracy", fail)
    monkeypatch.setattr(neighbours, "squared_radii", lambda x, ks: fail() if len(ks) == 2 else radii(x, ks))
    assert scores(classifier, real, mesh, part(TEST)).values == first


@pytest.mark.parametrize("rows", [7, 40, 4096])
def test_moments_of_batches_are_those_of_all_at_once(monkeypatch, rows):
    monkeypatch.setattr(extraction, "MOMENTS_ROWS", rows)
    features = (np.random.default_rng(0).normal(size=(103, 5)) * 3 + 50).astype(np.float32)
    running = extraction._RunningMoments()
    assert running.total() is None
    for batch in np.split(features, range(10, 103, 10)):
        running.add(batch)
    assert running.total().count == 103
    np.testing.assert_allclose(running.total().mean, features.mean(axis=0, dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(running.total().covariance, np.cov(features.T.astype(np.float64)), rtol=1e-9)


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
    for expected in ("FD-classifier ↓", "over 899 real, 40 generated", "images 40", "images 899"):
        assert expected in text
    assert "40 generated images are fewer than the 64 dimensions of classifier" in " ".join(text.split())


def test_names_say_in_which_features_a_score_was_measured():
    def name(extractor, resize, standard):
        return Extractor(extractor, {"resize": resize}, None, lambda *_: {}).score_name(standard)

    assert name("inception2015", "legacy", "FID") == "FID"
    assert name("inception2015", "clean", "KID") == "clean-KID"
    assert name("inception2015:768", "legacy", "FID") == "FD-inception768"
    assert name("inception2015:768", "clean", "intra-class FID") == "intra-class FD-inception768"
    assert name("resnet56_cifar10", "legacy", "KID") == "KD-resnet56_cifar10"


def test_an_identity_names_all_that_features_depend_on():
    def identity(name, **facts):
        return Extractor(name, {"weights": "file.npz"} | facts, None, lambda *_: {}).identity

    inception = [
        identity("inception2015", resize=resize, weights_sha256=digest)
        for resize in ("legacy", "clean")
        for digest in ("12", "34")
    ]
    assert len({*inception, identity("resnet56_cifar10", weights_sha256="12")}) == 5
    # It is trained on the real images, and in its last bits by the machine, which a run may change.
    assert identity("classifier", weights_sha256="12") == identity("classifier", weights_sha256="34") == "classifier"


def test_weights_that_are_not_those_of_the_fid_are_told():
    features = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    some = FeatureSet(features, np.zeros(9, np.int32), moments_of(features))

    def told(name, **facts):
        extractor = Extractor(name, {"weights": "w.pth", "resize": "legacy"} | facts, None, lambda *_: {})
        return [warning for warning in warnings_of(extractor, some, some) if "SHA-256" in warning]

    official = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # in the release's name of the file
    assert not told("inception2015", weights_sha256=official)
    assert not told("classifier", weights_sha256="12")
    for foreign in (told("inception2015", weights_sha256="12"), told("inception2015:768")):
        assert foreign[0].startswith("the weights of inception2015")
        assert "(w.pth) do not have the SHA-256 of the FID's (6726825d0af5…)" in foreign[0]


def test_features_that_are_not_finite_are_an_error(classifier, mesh):
    poisoned = dataclasses.replace(classifier, variables=jax.tree.map(lambda x: x * np.nan, classifier.variables))
    with pytest.raises(InputError, match=r"images 0 to 9 .* are not finite: the weights of classifier"):
        extract_features(poisoned, read_batches(DIGITS, np.arange(10), 10), 10, "digits", mesh)


def test_the_classifier_says_that_it_trains(monkeypatch, capsys):
    monkeypatch.setattr("sagan_jax.runtime.busy.SILENT", -1.0)
    monkeypatch.setattr(
        "sagan_jax.features.extractor.train_classifier", lambda *_, **__: TrainedClassifier({"w": np.zeros(1)}, 1.0)
    )
    open_extractor("classifier", "", "legacy", lambda _: (np.zeros((3, 8, 8, 3), np.uint8), np.arange(3)), 3)
    assert "training the classifier on 3 real images: done in 0 s" in "".join(capsys.readouterr())


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
        (
            {"images": np.zeros((2, 8, 8, 3), np.uint8), "labels": np.arange(2), "class_names": np.array(["a"])},
            "class_names of shape .* for labels up to 1",
        ),
        (
            {"images": np.zeros((2, 8, 8, 3), np.uint8), "labels": np.arange(2), "class_names": np.array(["a", "a"])},
            "a name of its own for each label",
        ),
        (
            {"images": np.zeros((2, 8, 8, 3), np.uint8), "labels": np.arange(2), "class_names": np.arange(2)},
            "they must be text",
        ),
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
    numbered = ArrayImages("npz", np.zeros((2, 8, 8, 3), np.uint8), np.array([1, 0], np.int32), "01")
    named = ArrayImages("real", np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 1], np.int32), ("cat", "dog"))
    _, labels = next(samples(numbered, named, 8).batches())
    assert sorted(labels) == [0, 1]
    assert samples(numbered, named, 8).labelled
    three = ArrayImages("npz", np.zeros((3, 8, 8, 3), np.uint8), np.arange(3, dtype=np.int32), "012")
    with pytest.raises(InputError, match="of the class 2, which the real ones lack"):
        samples(three, named, 8)


# Names of the folders of generated images (or None for an .npz with labels 0, 1), those of real classes, and the real
# labels of the generated images or what is said.
MATCHES = {
    "names": (("cat", "dog"), ("ant", "cat", "dog"), [1, 2]),
    "accents spelled in two ways": (("cafe\u0301", "the"), ("caf\u00e9", "the"), [0, 1]),
    "numbers of classes": (("0", "1"), ("cat", "dog"), [0, 1]),
    "numbers of folders": (("2", "10"), ("0", "10", "2"), [2, 1]),
    "leading zeros": (("1", "10"), ("00", "01", "10"), [1, 2]),
    "labels and named classes": (None, ("cat", "dog"), [0, 1]),
    "labels and numbered folders": (None, ("1", "10", "0"), [2, 0]),
    "labels and folders from 1 on": (None, ("1", "2"), "of the class 0, which the real ones lack .1, 2."),
    "labels and either": (None, ("1", "cat", "dog"), "may be numbers or names of the real classes .1, cat, dog."),
    "labels and a number twice": (None, ("0", "00", "1"), "may be numbers or names"),
}  # fmt: skip


@pytest.mark.parametrize("case", MATCHES)
def test_classes_are_matched_as_a_person_would(tmp_path, case):
    names, real_names, expected = MATCHES[case]
    images, labels = np.zeros((2, 8, 8, 3), np.uint8), np.arange(2, dtype=np.int32)
    if names is None:
        np.savez(tmp_path / "fake.npz", images=images + labels[:, None, None, None].astype(np.uint8), labels=labels)
        fake = open_samples(str(tmp_path / "fake.npz"))
    else:
        fake = ArrayImages("fake", images + labels[:, None, None, None].astype(np.uint8), labels, names)
    real = ArrayImages("real", np.repeat(images, 2, 0), np.arange(4, dtype=np.int32) % len(real_names), real_names)
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            samples(fake, real, 8)
        return
    images, labels = next(samples(fake, real, 8).batches())
    assert {int(image[0, 0, 0]): int(label) for image, label in zip(images, labels, strict=True)} == dict(
        enumerate(expected)
    )


def test_labels_of_archives_are_numbers_unless_they_carry_names(tmp_path):
    """Sorted as text, the folders 0 to 11 have other labels than their names say."""
    folders = sorted(map(str, range(12)))
    assert folders[2:5] == ["10", "11", "2"]
    for name in folders:
        (tmp_path / "real" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "real" / name / "a.png")
    data = default_config().data
    data.resolution = 8
    real = open_real(data, str(tmp_path / "real"))
    assert real.class_names == tuple(folders)

    def labels_of(**more):
        wanted = np.array([2, 2, 11])
        images = np.zeros((3, 8, 8, 3), np.uint8) + wanted[:, None, None, None].astype(np.uint8)
        np.savez(tmp_path / "fake.npz", images=images, labels=wanted, **more)
        images, labels = next(samples(open_samples(str(tmp_path / "fake.npz")), real, 8).batches())
        return {int(image[0, 0, 0]): int(label) for image, label in zip(images, labels, strict=True)}

    assert labels_of() == {2: 4, 11: 3}  # the folders 2 and 11
    assert labels_of(class_names=np.array([str(label) for label in range(12)])) == {2: 4, 11: 3}
    # Names that no image has need not be real ones.
    assert labels_of(class_names=np.array(["cat", "dog", "7", *"defghijk", "0"])) == {2: 9, 11: 0}
    with pytest.raises(InputError, match="of the class seven, which the real ones lack"):
        labels_of(class_names=np.array(["cat", "dog", "seven", *"defghijk", "0"]))


def test_the_protocol_says_how_images_of_a_folder_were_made_square(classifier, mesh, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "real" / name).mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(tmp_path / "real" / name / "a.png")
    data = default_config().data
    data.resolution = 16
    found = real_images(classifier, open_real(data, str(tmp_path / "real")), None, 2, str(tmp_path / "cache"), mesh)
    usual = inspect.signature(square_rgb).parameters
    assert (found.facts["crop"], found.facts["filter"]) == (usual["crop"].default, usual["filter_name"].default)


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


def test_features_are_kept_where_space_cannot_be_reserved(classifier, mesh, tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)  # macOS
    first = reference_features(classifier, DIGITS, 20, 10, str(tmp_path), mesh)
    kept = reference_features(dataclasses.replace(classifier, function=None), DIGITS, 20, 10, str(tmp_path), mesh)
    np.testing.assert_array_equal(kept.features, first.features)


def test_only_what_dead_processes_of_this_machine_left_behind_is_removed(classifier, mesh, tmp_path):
    reference_features(classifier, DIGITS, 20, 10, str(tmp_path), mesh)
    (folder,) = (tmp_path / "features").iterdir()
    shutil.rmtree(folder)
    with subprocess.Popen(["true"]) as ended:
        pass
    here = socket.gethostname()
    left = {f".{folder.name}.{here}.{ended.pid}.partial", f".{folder.name}.{here}.{os.getppid()}.partial",
            f".{folder.name}.elsewhere.{ended.pid}.partial"}  # fmt: skip
    for name in left:
        (folder.parent / name).mkdir()
    reference_features(classifier, DIGITS, 20, 10, str(tmp_path), mesh)
    remaining = {path.name for path in folder.parent.iterdir()}
    assert remaining == {folder.name} | left - {f".{folder.name}.{here}.{ended.pid}.partial"}


@pytest.mark.slow
def test_the_benchmark_of_neighbours(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "bench/evaluation.py", "--neighbours=300", "--dimensions=50"]
    subprocess.run([*command, f"--json={tmp_path / 'found'}"], cwd=ROOT, env=environment, check=True)
    found = json.loads((tmp_path / "found").read_text())
    assert found["features_gb"] == pytest.approx(2 * 300 * 50 * 4 / 1e9)
    assert 0 < found["seconds"] < 60
    assert found["peak_host_memory_gb"] > found["features_gb"]
