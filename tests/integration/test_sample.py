"""Making images with a trained model: the program, and what it is made of."""

import dataclasses
import json
import math
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from tiny import tiny_config

from sagan_jax import sample
from sagan_jax.data.digits import Digits
from sagan_jax.errors import InputError
from sagan_jax.evaluation.image_sets import open_samples
from sagan_jax.loading import load
from sagan_jax.metrics.attention import attention_distance, attention_entropy
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.sampling import output, sampler
from sagan_jax.sampling.card import find_labels
from sagan_jax.sampling.interpolation import interpolate_classes, interpolate_latents, mixed_classes, slerp
from sagan_jax.sampling.output import write_archive
from sagan_jax.sampling.sampler import Latents
from sagan_jax.training.loop import train_and_evaluate
from sagan_jax.training.trained import open_trained


def made(workdir, folder, *flags):
    assert sample.main([f"--workdir={workdir}", f"--out={folder}", *flags]) == 0
    return folder


def pixels(file):
    return np.asarray(Image.open(file))


def test_an_image_is_the_same_whatever_else_is_asked_for(tiny_run, tmp_path):
    few = made(tiny_run, tmp_path / "few", "--num=3", "--seed=5")
    many = made(tiny_run, tmp_path / "many", "--num=150", "--seed=5")  # more than one call
    other = made(tiny_run, tmp_path / "other", "--num=3", "--seed=6")
    names = sorted(file.name for file in (few / "images").iterdir())
    assert names == ["000000-0.png", "000001-1.png", "000002-2.png"]
    assert len(list((many / "images").iterdir())) == len(open_samples(str(many / "images"))) == 150
    for folder in (few, many, other):
        assert (folder / "sheet.png").exists()
    for name in names:
        np.testing.assert_array_equal(pixels(few / "images" / name), pixels(many / "images" / name))
        assert (pixels(few / "images" / name) != pixels(other / "images" / name)).any()


def test_images_of_two_calls_are_not_mixed(tiny_run, tmp_path, monkeypatch, capsys):
    first = made(tiny_run, tmp_path / "a", "--num=2", "--classes=3")
    made(tiny_run, first, "--num=2", "--classes=3", "--seed=9")  # takes the place of all that is there
    before = {file: file.read_bytes() for file in first.rglob("*.png")}
    for flags in (["--num=2", "--classes=4"], ["--num=1", "--classes=3"]):
        assert sample.main([f"--workdir={tiny_run}", f"--out={first}", *flags]) == 2
        assert "has images of another call (such as 00000" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in first.rglob("*.png")} == before
    monkeypatch.chdir(tmp_path)
    for number in ("001", "002"):
        assert sample.main([f"--workdir={tiny_run}", "--num=1", "--classes=4"]) == 0
        assert [file.name for file in (tmp_path / "samples" / number / "images").iterdir()] == ["000000-4.png"]


@pytest.mark.parametrize(
    ("labels", "rows", "captions"),
    [
        ([3, 8] * 3, ["three", "eight"], []),
        ([3, 8, 3], ["three", "eight"], []),  # a row that is shorter
        ([3, 8, 5, 1], ["", ""], ["three", "eight", "five", "one"]),  # one of each
        ([5] * 7, ["five", "", ""], []),  # 3, 3 and 1
    ],
)
def test_the_sheet_names_the_classes(tiny_run, monkeypatch, labels, rows, captions):
    model = open_trained(str(tiny_run), "newest", make_mesh(), 16)
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    model = dataclasses.replace(model, card=dataclasses.replace(model.card, class_names=names))
    drawn = []
    monkeypatch.setattr(output, "sample_sheet", lambda *arguments: drawn.append(arguments) or arguments[0])
    latents, labels = np.zeros((len(labels), 8), np.float32), np.array(labels, np.int32)
    output.draw_sheet(model, latents, labels, "title")
    images, *texts = drawn[0]
    assert texts == [rows, "title", captions]
    expected = model.sampler.images(model.variables, latents, labels if captions else np.sort(labels))
    np.testing.assert_array_equal(np.concatenate(images), expected)  # all of them


@pytest.mark.parametrize(
    ("waypoints", "frames", "shown", "names"),
    [
        (
            ["a", "b"],
            8,
            [0, 2, 4, 6, 8, 10, 12, 14],
            ["a", "→ 25 %", "→ 50 %", "→ 75 %", "b", "→ 25 %", "→ 50 %", "→ 75 %"],
        ),
        (["a", "b", "c", "d"], 1, [0, 1, 2, 3], ["a", "b", "c", "d"]),
        ([str(i) for i in range(20)], 24, list(range(0, 480, 48)), [str(i) for i in range(0, 20, 2)]),
    ],
)
def test_an_interpolations_columns_are_its_waypoints_and_what_lies_between(waypoints, frames, shown, names):
    assert output.sheet_columns(waypoints, frames) == (shown, names)


def test_an_animation_has_gaps_and_paper_where_nothing_moves(tmp_path):
    frames = np.zeros((3, 2, 16, 16, 3), np.uint8)
    output.write_interpolation(frames, ["", "", ""], ["a"], "title", epath.Path(tmp_path), "gif")
    moving = np.asarray(Image.open(tmp_path / "interpolation.gif").convert("RGB"))
    assert moving.shape == (196, 196, 3)
    light = np.argwhere(moving.min(-1) > 240)
    assert len(light) == 196 * 4 * 2 - 16 + 96 * 96


def test_the_first_image_is_that_of_the_seed(tiny_run, tmp_path):
    """The explorer relies on it."""
    model = open_trained(str(tiny_run), "newest", make_mesh())

    latents = model.sampler.fixed_latents(1, stream_key(7, "samples"))
    image = model.sampler.images(model.variables, latents, np.array([4]))[0]
    made(tiny_run, tmp_path, "--num=1", "--seed=7", "--classes=4")
    assert np.abs(pixels(tmp_path / "images" / "000000-4.png").astype(int) - image).max() <= 1


def test_classes_truncation_and_archive(tiny_run, tmp_path):
    file = tmp_path / "images.npz"
    made(tiny_run, tmp_path / "a", "--num=5", "--classes=3,8", f"--npz={file}", "--truncation=0.5")
    with np.load(file) as found:
        assert found["images"].shape == (5, 16, 16, 3)
        assert found["labels"].tolist() == [3, 8, 3, 8, 3]
    assert len(open_samples(str(file))) == 5  # what sagan_jax.evaluate reads
    assert not (tmp_path / "a").exists()
    made(tiny_run, tmp_path / "b", "--num=5", "--classes=3", "--classes=8", "--truncation=0.5")
    made(tiny_run, tmp_path / "c", "--num=5", "--classes=3", "--classes=8")
    for number, name in enumerate(sorted(path.name for path in (tmp_path / "b" / "images").iterdir())):
        np.testing.assert_array_equal(pixels(tmp_path / "b" / "images" / name), np.load(file)["images"][number])
        assert (pixels(tmp_path / "c" / "images" / name) != np.load(file)["images"][number]).any()


def test_an_archive_that_could_not_be_finished_is_none(tiny_run, tmp_path, monkeypatch):
    model = open_trained(str(tiny_run), "newest", make_mesh(), 16)

    def broken(*_):
        yield np.zeros((16, 16, 16, 3), np.uint8)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(model), "batches", broken)
    with pytest.raises(KeyboardInterrupt):
        write_archive(model, np.zeros((32, 8), np.float32), np.zeros(32, np.int32), epath.Path(tmp_path / "a.npz"))
    assert not list(tmp_path.iterdir())


def test_interpolations_begin_with_the_images_themselves(tiny_run, tmp_path):
    images = made(tiny_run, tmp_path / "images", "--num=2", "--classes=6")
    ways = made(tiny_run, tmp_path, "--interpolate=latents", "--num=2", "--classes=6", "--frames=5", "--animation=gif")
    assert Image.open(ways / "interpolation.gif").n_frames == 10
    first = np.repeat(np.repeat(pixels(images / "images" / "000000-6.png"), 4, axis=0), 4, axis=1)
    sheet = pixels(ways / "interpolation.png")  # begins with it, enlarged
    windows = np.lib.stride_tricks.sliding_window_view(sheet, first.shape)[:, :, 0]
    assert (np.abs(windows[:, :60].astype(int) - first).max(axis=(2, 3, 4)) <= 1).any()
    model = open_trained(str(tiny_run), "newest", make_mesh(), 128)

    latents = model.sampler.fixed_latents(2, stream_key(0, "samples"))
    frames = interpolate_latents(model, latents, np.array([6]), 5)
    assert frames.shape == (1, 10, 16, 16, 3)
    for frame, name in ((0, "000000-6.png"), (5, "000001-6.png")):
        assert np.abs(frames[0, frame].astype(int) - pixels(images / "images" / name)).max() <= 1
    mixed = interpolate_classes(model, latents, np.array([6, 2]), 3)
    assert np.abs(mixed[:, 0].astype(int) - frames[0, [0, 5]]).max() <= 1
    made(tiny_run, tmp_path, "--interpolate=classes", "--num=3", "--frames=2")
    assert Image.open(tmp_path / "interpolation.webp").n_frames > 1  # frames that are equal are one


def test_attention_is_drawn_and_told_in_numbers(tiny_run, tmp_path, capsys):
    made(tiny_run, tmp_path, "--num=2", "--attention")
    text = capsys.readouterr().out
    model = open_trained(str(tiny_run), "newest", make_mesh(), 128, with_discriminator=True)
    latents, labels = model.sampler.fixed_latents(2, stream_key(0, "samples")), np.arange(2)
    images, maps = model.sampler.attention(model.variables, latents, labels)
    judged = model.discriminate(images, labels)[1]
    for network, params, weights in (
        ("Generator", model.variables["params"], maps["attention_8"]),
        ("Discriminator", model.discriminator_variables["params"], judged["attention_8"]),
    ):
        [line] = [line for line in text.splitlines() if line.startswith(f"{network} 8×8, γ ")]
        gamma = float(line.split("γ ")[1].split(",")[0].replace("−", "-"))
        assert gamma == pytest.approx(float(params["attention_8"]["gamma"]), abs=0.00051)
        entropy = -np.mean(np.sum(weights * np.log(weights), axis=-1)) / np.log(16)
        assert float(re.search(r"entropy (\d+) %", line)[1]) == pytest.approx(100 * entropy, abs=0.51)
    assert pixels(tmp_path / "attention.png").shape[0] > 2 * 2 * 96  # two rows for either network


def test_shares_of_classes_are_kept_with_the_run(tmp_path):
    config = tiny_config()
    config.train.steps, config.data.class_sampling = 1, "empirical"
    train_and_evaluate(config, str(tmp_path))
    assert len(json.loads((tmp_path / "data.json").read_text())["class_frequencies"]) == 10
    assert sum(open_trained(str(tmp_path), "newest", make_mesh()).card.class_frequencies) == pytest.approx(1)


def test_without_a_name_the_model_that_comes_along_draws_the_digits_asked_for(tmp_path, capsys):
    file = tmp_path / "samples.npz"
    assert sample.main(["--classes=3,8", "--num=60", f"--out={tmp_path}", f"--npz={file}"]) == 0
    assert "digits" in capsys.readouterr().out
    images, labels = np.load(file)["images"], np.load(file)["labels"]
    assert set(labels) == {3, 8}
    real, digits = Digits(16).load(np.arange(1797))
    reader = KNeighborsClassifier(3).fit(real.reshape(1797, -1), digits)
    assert np.mean(reader.predict(images.reshape(60, -1)) == labels) > 0.9


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--classes=11"], "classes=11 is no class of this model"),
        (["--interpolate=classes", "--classes=1"], "needs two classes, not 1"),
        (["--checkpoint=99"], "has no checkpoint 99: choose from newest, best or a step (6)"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_sentence(tiny_run, tmp_path, flags, message, capsys):
    assert sample.main([f"--workdir={tiny_run}", f"--out={tmp_path}", *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=x", "--num=0"], "0 is not a number from 1"),
        (["--model=x", "--truncation=-1"], "-1 is not a number greater than 0"),
        (["--model=x", "--seed=-1"], "--seed: -1 is not a number from 0"),
        (["--model=x", "--npz=a.txt"], "--npz=a.txt must end with .npz"),
        (["--model=x", "--npz=a.npz", "--interpolate=latents"], "--npz and --interpolate exclude each other"),
    ],
)
def test_flags_that_make_no_sense(flags, message, capsys):
    with pytest.raises(SystemExit) as caught:
        sample.main(flags)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_portable_model_has_no_checkpoints(capsys):
    assert sample.main(["--model=digits", "--checkpoint=best"]) == 2
    assert "--checkpoint=best goes with --workdir" in capsys.readouterr().err


NAMES = ("tench", "Great white shark", "church, church building", "7")


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        ([], [0, 1, 2, 3]),
        (["tench,church, church building"], None),
        (["church, church building"], [2]),
        (["great white shark", "TENCH"], [1, 0]),
        (["1,7"], [1, 3]),  # a name comes before a number
    ],
)
def test_classes_by_name_and_number(asked, labels):
    if labels is None:
        with pytest.raises(InputError, match="^classes=church is no class"):
            find_labels(asked, NAMES)
    else:
        assert find_labels(asked, NAMES) == labels


def test_nearest_names_are_offered():
    with pytest.raises(InputError, match="did you mean tench"):
        find_labels(["tensh"], NAMES)
    with pytest.raises(InputError, match="knows no classes"):
        find_labels(["tench"], ())


def test_the_way_interpolate_latents_is_an_arc():
    start, end = np.eye(4, dtype=np.float32)[:2] * [[2.0], [4.0]]
    middle = slerp(start, end, 0.5)
    np.testing.assert_allclose(middle, [3 / 2**0.5, 3 / 2**0.5, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(slerp(start, end, 0), start, rtol=1e-6)
    np.testing.assert_allclose(slerp(start, end, 1), end, atol=1e-6)
    np.testing.assert_allclose(slerp(start, start, 0.3), start, rtol=1e-6)
    both = slerp(np.stack([start, end]), np.stack([end, start]), 0.25)
    np.testing.assert_allclose(both[0], slerp(start, end, 0.25), rtol=1e-6)


def test_a_mixture_of_classes_is_between_them(tiny_run):
    model = open_trained(str(tiny_run), "newest", make_mesh())
    tables = [
        mixed_classes(model.variables, 3, 5, fraction)["params"]["block_8"]["norm_0"]["scale"]
        for fraction in (0, 0.5, 1)
    ]
    usual = model.variables["params"]["block_8"]["norm_0"]["scale"]
    for table, expected in zip(tables, (usual[3], (usual[3] + usual[5]) / 2, usual[5]), strict=True):
        np.testing.assert_allclose(table[0], expected, rtol=1e-6)
        np.testing.assert_array_equal(table[1:], usual[1:])
    assert (tables[0][0] != tables[2][0]).any()


def test_attention_as_numbers():
    everywhere = np.full((1, 16, 4), 0.25, np.float32)
    np.testing.assert_allclose(attention_entropy(everywhere), np.log(4), rtol=1e-6)
    one = np.zeros((1, 16, 4), np.float32)
    one[..., 0] = 1  # the key position of the upper left quarter
    np.testing.assert_allclose(attention_entropy(one), 0, atol=1e-6)
    distance = attention_distance(one, 32)[0].reshape(4, 4)
    assert distance[0, 0] == pytest.approx(np.hypot(4, 4))  # from (4, 4) to (8, 8)
    assert distance[3, 3] == pytest.approx(np.hypot(20, 20))
    assert distance[0, 3] == pytest.approx(np.hypot(20, 4))


@pytest.mark.parametrize("truncation", [math.inf, 0.7])
def test_latents_are_drawn_when_they_are_asked_for(truncation):
    """Those of any number of images take no memory, and are those that would be drawn at once."""
    key = jax.random.key(3)
    ten, many = (Latents(count, 8, key, truncation) for count in (10, 10_000_000))
    assert len(many) == 10_000_000
    np.testing.assert_array_equal(many[:10], ten[:])
    np.testing.assert_array_equal(many[4:6], ten[np.array([4, 5])])
    np.testing.assert_array_equal(many[9_999_998:][1], many[np.array([9_999_999])][0])


def test_an_archive_of_any_size_draws_a_block_at_a_time(monkeypatch):
    drawn, model = [], load("digits")
    monkeypatch.setattr(sampler, "DRAWN_AT_ONCE", 2 * model.sampler.call_size)
    monkeypatch.setattr(Latents, "_draw", lambda self, key: drawn.append(key) or jnp.zeros(self._size))
    monkeypatch.setattr(model.sampler, "_padded", lambda function, variables, latents, labels, size: latents)
    latents, labels = model.requests(num=5 * model.sampler.call_size)
    sizes = [len(batch) for batch in model.sampler.batches(model.variables, latents, labels)]
    assert sizes == [model.sampler.call_size] * 5
    assert len(drawn) == 3


def test_an_interpolation_that_does_not_fit_into_memory_is_refused(capsys):
    assert sample.main(["--interpolate=latents", "--num=10000000"]) == 2
    assert "makes 2,160,000,000 frames, 1.7 TB: at most 2.1 GB" in capsys.readouterr().err


def test_an_archive_that_does_not_fit_on_the_disk_is_refused_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 1000))
    assert sample.main([f"--npz={tmp_path / 'a.npz'}", "--num=10000000"]) == 2
    assert "has 1.0 kB free, but 7.8 GB are needed" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
