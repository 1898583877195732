"""The explorer without a browser: scenes, numbers, colours, links, pictures, uploads and the training's time line."""

import argparse
import io
import json
import math
import sys

import numpy as np
import pytest
from etils import epath
from PIL import Image
from tiny import tiny_config

from sagan_jax import explore
from sagan_jax.errors import InputError
from sagan_jax.exploring.choice import Choice, from_query, from_values, subject, to_query, with_point
from sagan_jax.exploring.figure import TILE, figure_png
from sagan_jax.exploring.scene import Scene, suggest_points
from sagan_jax.exploring.stage import LRUCache, Stage, read_upload
from sagan_jax.exploring.timeline import gamma_name, moment_html, read_timeline
from sagan_jax.exploring.view import image_html, layers_html
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.sampling.attention_layer import AttentionLayer
from sagan_jax.sampling.heat import MAX_OPACITY, heat, overlay
from sagan_jax.sampling.numbers import signed
from sagan_jax.training.loop import train_and_evaluate
from sagan_jax.training.trained import open_trained


@pytest.fixture(scope="module")
def stage(tiny_run):
    return Stage(open_trained(str(tiny_run), "newest", make_mesh(), with_discriminator=True))


def random_layer(side=8, keys=4, sharpness=3.0):
    scores = sharpness * np.random.default_rng(0).normal(size=(side**2, keys**2)).astype(np.float32)
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return AttentionLayer("generator", side, 0.25, weights, float(weights.max()) * keys**2)


def test_a_scene_is_the_image_of_its_seed_with_both_networks_attention(stage):
    scene = stage.generated(Choice(label=4, seed=7))
    model = stage.model
    latents = model.sampler.fixed_latents(1, stream_key(7, "samples"))
    images, maps = model.sampler.attention(model.variables, latents, np.array([4]))
    np.testing.assert_array_equal(scene.image, images[0])
    generator, discriminator = scene.layers
    assert (generator.network, generator.side, discriminator.network) == ("generator", 8, "discriminator")
    np.testing.assert_array_equal(generator.weights, maps["attention_8"][0])
    logits, judged = model.discriminate(images, np.array([4]))
    assert scene.logit == pytest.approx(float(logits[0]), abs=1e-5)
    np.testing.assert_allclose(discriminator.weights, judged["attention_8"][0], atol=1e-6)
    assert stage.generated(Choice(label=4, seed=7)) is scene  # kept
    assert stage.of_image(scene.image, 4) is stage.of_image(scene.image.copy(), 4)


def test_walks_and_mixtures_end_where_they_lead(stage):
    end = stage.generated(Choice(label=2, seed=9))
    walked = stage.generated(Choice(label=2, seed=1, other_seed=9, walk=1.0))
    mixed = stage.generated(Choice(label=5, seed=9, other_label=2, mix=1.0))
    for scene in (walked, mixed):
        assert np.abs(scene.image.astype(int) - end.image).max() <= 1
        assert scene.logit == pytest.approx(end.logit, abs=0.02)  # a mixture is judged as one
    start = stage.generated(Choice(label=5, seed=9))
    halfway = stage.generated(Choice(label=5, seed=9, other_label=2, mix=0.5))
    assert np.abs(halfway.image.astype(int) - start.image).max() > 0
    alone = [stage.of_image(halfway.image, label).logit for label in (5, 2)]
    assert halfway.logit == pytest.approx(np.mean(alone), abs=1e-4)


def test_scenes_are_kept_up_to_so_many_bytes():
    kept, made = LRUCache(max_bytes=2500), []

    def get(name, size=1000):
        def make():
            made.append(name)
            return Scene(np.zeros(size, np.uint8), (), None)

        return kept.get(name, make)

    for name in "aba":
        get(name)
    get("c")  # b was asked for longest ago
    get("a")
    assert made == ["a", "b", "c"]
    assert get("huge", 9000) is get("huge")
    get("a")
    assert made == ["a", "b", "c", "huge", "a"]


def test_the_numbers_of_a_point_are_those_of_its_row():
    layer = random_layer()
    assert [layer.query_at(point) for point in ((0, 0), (0.99, 0), (1, 1), (0.5, 0.25))] == [0, 7, 63, 20]
    row = layer.weights[20].astype(np.float64)
    entropy = -np.sum(row * np.log(row)) / math.log(16)
    assert layer.entropy_at((0.5, 0.25)) == pytest.approx(entropy, rel=1e-4)
    x, y = 9.0, 5.0  # middle of query 20 of 8x8 in an image of 16 px
    away = [math.hypot(4 * (key % 4) + 2 - x, 4 * (key // 4) + 2 - y) for key in range(16)]
    assert layer.distance_at((0.5, 0.25), 16) == pytest.approx(np.sum(row * away), rel=1e-5)
    assert layer.target_at((0.5, 0.25)) == ((row.argmax() % 4 + 0.5) / 4, (row.argmax() // 4 + 0.5) / 4)
    assert random_layer(sharpness=0.01).target_at((0.5, 0.25)) is None  # alike everywhere


def test_a_fifth_point_moves_the_nearest_one():
    points = []
    for new in ((0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9), (0.8, 0.2)):
        points = with_point(points, new)
    assert points == [(0.1, 0.1), (0.8, 0.2), (0.1, 0.9), (0.9, 0.9)]


def test_the_first_points_attend_to_something_and_each_to_something_else():
    weights = np.full((64, 16), 1 / 16, np.float32)
    for query, key in ((3, 2), (40, 9), (41, 9), (63, 15)):
        weights[query] = 0.1 / 15
        weights[query, key] = 0.9
    layer = AttentionLayer("generator", 8, 0.1, weights, 0.9 * 16)
    points = suggest_points(Scene(np.zeros((16, 16, 3), np.uint8), (layer,), None))
    assert sorted(layer.query_at(point) for point in points) == [3, 40, 63]


def test_opacity_is_the_weight_from_an_even_share_to_the_most_in_equal_ratios():
    layer = random_layer()
    row = layer.weights[20]
    cells = heat(row, layer.scale_max)
    assert cells.shape == (4, 4, 4)
    expected = np.log(np.maximum(row * 16, 1)) / np.log(layer.scale_max) * MAX_OPACITY * 255
    np.testing.assert_allclose(cells[..., 3].reshape(-1), expected, atol=0.51)
    assert heat(np.full(16, 1 / 16), layer.scale_max)[..., 3].max() == 0


def test_all_points_together_are_the_cells_that_each_attends_to_most():
    first, second = np.full((2, 64), 0.5 / 60)
    first[[3, 9, 20, 21]], second[[9, 40, 41, 42]] = (0.2, 0.1, 0.1, 0.1), (0.05, 0.15, 0.15, 0.15)
    cells = overlay([first, second], [(255, 0, 0), (0, 0, 255)]).reshape(64, 4)
    assert np.flatnonzero(cells[:, 3]).tolist() == [3, 9, 20, 21, 40, 41, 42]  # a sixteenth of 64 for each
    assert [cells[index, 0] for index in (3, 9, 40)] == [255, 255, 0]
    assert overlay([np.full(64, 1 / 64), np.full(64, 1 / 64)], [(255, 0, 0), (0, 0, 255)])[..., 3].max() == 0


def test_what_is_shown(stage):
    scene = stage.generated(Choice())
    points = suggest_points(scene)
    assert len({scene.layers[0].query_at(point) for point in points}) == 3
    layer = random_layer()
    html = layers_html(scene._replace(layers=(layer, layer._replace(network="discriminator", scale_max=123.4))), points)
    assert html.count('<figure class="map"') == 6
    assert 'data-layer="discriminator_8"' in html
    assert " 123×</p>" in html  # the end of the scale
    assert "<script" not in image_html(scene, points, "<script>alert(1)</script>")
    assert "no attention layer" in layers_html(scene._replace(layers=()), points)


def test_where_attention_is_even_there_is_a_word_and_no_map():
    layer, image = random_layer(), np.zeros((16, 16, 3), np.uint8)
    weights = layer.weights.copy()
    weights[0] = 1 / 16
    first, last = (0.01, 0.01), (0.99, 0.99)
    html = layers_html(Scene(image, (layer._replace(weights=weights),), None), [first, last])
    assert html.count('class="even"') == 1
    assert html.count('class="cells"') == 2  # of the other point, and of both together
    html = layers_html(Scene(image, (layer._replace(weights=np.full_like(weights, 1 / 16)),), None), [first, last])
    assert "Every point attends to all cells alike" in html
    assert "<img" not in html


def test_what_is_said():
    digits, animals = tuple("0123456789"), ("cat", "dog")
    assert subject(Choice(label=3, seed=7), digits, uploaded=False) == "class 3 · seed 7"
    assert subject(Choice(1, 7, 0.7, 9, 0.4, 0, 0.3), animals, uploaded=False) == (
        "dog · seed 7 · truncation 0.7 · 40 % of the way to seed 9 · 30 % cat"
    )
    assert subject(Choice(label=1), animals, uploaded=True) == "uploaded image, taken for dog"
    assert subject(Choice(), (), uploaded=False) == "seed 0"


def test_a_saved_picture_is_as_wide_as_its_content_and_says_where_it_is_from(stage):
    scene = stage.generated(Choice(label=3, seed=7))
    points = suggest_points(scene)
    widths = []
    for chosen, title in (([], "digits"), (points, "digits"), ([], "a long title " * 20)):
        picture = Image.open(io.BytesIO(figure_png(scene, chosen, title, "?label=3&seed=7")))
        assert (picture.text["Title"], picture.text["link"]) == (title, "?label=3&seed=7")
        pixels = np.asarray(picture.convert("L"))
        assert (pixels[:, -5:] == 255).all()  # nothing is cut off
        widths.append(picture.width)
    assert TILE >= 256
    assert TILE < widths[0] < 2 * TILE < 4 * TILE < widths[1] < 5 * TILE < widths[2]


def test_a_model_without_classes_attention_and_discriminator_has_an_image(tmp_path):
    config = tiny_config()
    config.model.update(num_classes=0)
    config.model.generator.attention = config.model.discriminator.attention = ()
    config.train.steps = 1
    train_and_evaluate(config, str(tmp_path))
    stage = Stage(open_trained(str(tmp_path), "newest", make_mesh()))
    scene = stage.generated(Choice(seed=3, walk=0.5))
    assert scene.image.shape == (16, 16, 3)
    assert scene.logit is None
    points = suggest_points(scene)
    assert points == []
    assert "no attention layer" in layers_html(scene, points)
    assert figure_png(scene, [(0.5, 0.5)], "plain", "?").startswith(b"\x89PNG")


def test_the_fields_make_a_choice_and_a_missing_class_counts_as_the_first():
    assert from_values([3, 7.0, 0.7, 4294967295, 0.4, None, 1]) == Choice(3, 7, 0.7, 4294967295, 0.4, 0, 1.0)


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (-5, "-5 is no seed"),
        (1.5, "1.5 is no seed"),
        (2**32, "4,294,967,296 is no seed"),
        (1e300, "… is no seed"),
        (None, "a seed is missing"),
    ],
)
def test_a_wrong_seed_is_said(seed, message):
    for values in ([3, seed, 3, 0, 0, 0, 0], [3, 0, 3, seed, 0, 0, 0]):
        with pytest.raises(InputError, match=f"{message}: give a whole number from 0 to 4,294,967,295"):
            from_values(values)


def test_without_gradio_the_program_names_the_extra(monkeypatch):
    for name in ("page", "controls"):
        monkeypatch.delitem(sys.modules, f"sagan_jax.exploring.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(InputError, match=r"needs gradio: \S+ -m pip install -e '\S+\[explore\]'\.$"):
        explore.explore(argparse.Namespace())


@pytest.mark.parametrize("seed", [12, 999_999, 1_000_001, 4294967295])
def test_a_link_brings_everything_back(seed):
    choice = Choice(3, seed, 0.7, seed - 1, 0.07, 8, 1 / 3)
    points = [(0.2501, 0.5), (1.0, 0.0)]
    query = to_query(choice, points)
    pairs = dict(pair.split("=") for pair in query.removeprefix("?").split("&"))
    assert from_query(pairs, 10) == (choice, points)
    assert from_query({}, 10) == (Choice(), None)
    assert from_query({"points": ""}, 10) == (Choice(), [])


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("label", "10", "a whole number from 0 to 9"),
        ("label", "inf", "a whole number from 0 to 9"),
        ("seed", "-5", "a whole number from 0 to 4,294,967,295"),
        ("seed", "1.5", "a whole number from 0 to 4,294,967,295"),
        ("seed", "9" * 5000, "a whole number from 0 to 4,294,967,295"),
        ("other_seed", "", "a whole number from 0 to 4,294,967,295"),
        ("truncation", "x", "a number from 0.1 to 3"),
        ("walk", "7", "a number from 0 to 1"),
        ("mix", "nan", "a number from 0 to 1"),
        ("points", "0.5,1.5", "a number from 0 to 1"),
        ("points", "a,b", "a number from 0 to 1"),
        ("points", "0.5", "up to 4 pairs"),
        ("points", "0.1,0.2,0.3", "up to 4 pairs"),
        ("points", "_".join(["1,1"] * 5), "up to 4 pairs"),
    ],
)
def test_a_wrong_link_is_said(name, value, right):
    with pytest.raises(InputError, match=f"^{name}=.{{0,41}} must be {right}"):
        from_query({"label": "3", "seed": "7", name: value, "__theme": "dark"}, 10)


def test_uploads(tmp_path):
    Image.new("RGB", (60, 40), (200, 10, 10)).save(tmp_path / "wide.png")
    image = read_upload(str(tmp_path / "wide.png"), 16)
    assert image.shape == (16, 16, 3)
    assert (image == [200, 10, 10]).all()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes((tmp_path / "wide.png").read_bytes()[:60])
    (tmp_path / "large.png").write_bytes(bytes(11 * 2**20))
    for name, message in (("text", "is no image"), ("cut", "is no image"), ("large", "more than 10 MB")):
        with pytest.raises(InputError, match=message):
            read_upload(str(tmp_path / f"{name}.png"), 16)


def test_the_time_line_of_a_run(tiny_run, tmp_path):
    timeline = read_timeline(epath.Path(tiny_run))
    assert list(timeline.sheets) == [6]
    assert set(timeline.gammas_at(6)) == {"g_gamma_8", "d_gamma_8"}
    assert timeline.gammas_at(0) == {}
    html = moment_html(timeline, 6)
    assert html.count("<polyline") == 2
    assert f"Generator 8×8 <b>{signed(timeline.gammas_at(6)['g_gamma_8'], 3)}</b>" in html
    rows = [json.dumps({"step": 1, "g_gamma_8": 0.5, "d_gamma_8": math.nan}), '{"step": 2, "g_g', "[]"]
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    assert read_timeline(epath.Path(tmp_path)).gammas == {1: {"g_gamma_8": 0.5}}


def test_nothing_in_a_file_becomes_part_of_the_page(tiny_run):
    timeline = read_timeline(epath.Path(tiny_run))._replace(
        gammas={6: {"<script>gamma": 0.5, "g_gamma_residual_32": 1}}
    )
    html = moment_html(timeline, 6)
    assert "<script" not in html
    assert "&lt;script&gt;gamma" in html
    assert gamma_name("g_gamma_residual_32") == "Generator residual 32×32"
