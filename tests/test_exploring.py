"""The explorer without a browser: scenes, links, uploads and the training's time line."""

import io
import json

import numpy as np
import pytest
from conftest import tiny_config
from etils import epath
from PIL import Image

from sagan_jax.errors import InputError
from sagan_jax.exploring.link import from_query, to_query
from sagan_jax.exploring.scene import Choice, Stage
from sagan_jax.exploring.timeline import read_timeline
from sagan_jax.exploring.upload import read_upload
from sagan_jax.exploring.view import layer_numbers, layers_html, query_at, saved_picture, stage_html, telling_points
from sagan_jax.runtime.randomness import stream
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.training.loop import train_and_evaluate
from sagan_jax.training.trained import open_trained

pytestmark = pytest.mark.usefixtures("hasty_compilation")


@pytest.fixture(scope="module")
def stage(tiny_run):
    return Stage(open_trained(str(tiny_run), "newest", make_mesh(), judging=True))


def test_a_scene_is_the_image_of_its_seed_with_both_networks_attention(stage):
    scene = stage.generated(Choice(label=4, seed=7))
    model = stage.model
    latents = model.sampler.fixed_latents(1, stream(7, "samples"))
    images, maps = model.sampler.attention(model.variables, latents, np.array([4]))
    np.testing.assert_array_equal(scene.image, images[0])
    generator, discriminator = scene.layers
    assert (generator.network, generator.side, discriminator.network) == ("generator", 8, "discriminator")
    np.testing.assert_array_equal(generator.weights, maps["attention_8"][0])
    logits, judged = model.judge_images(images, np.array([4]))
    assert scene.logit == pytest.approx(float(logits[0]), abs=1e-5)
    np.testing.assert_allclose(discriminator.weights, judged["attention_8"][0], atol=1e-6)
    assert stage.generated(Choice(label=4, seed=7)) is scene  # kept


def test_walks_and_mixtures_end_where_they_lead(stage):
    end = stage.generated(Choice(label=2, seed=9)).image.astype(int)
    walked = stage.generated(Choice(label=2, seed=1, other_seed=9, walk=1.0)).image
    mixed = stage.generated(Choice(label=5, seed=9, other_label=2, mix=1.0)).image
    for image in (walked, mixed):
        assert np.abs(image - end).max() <= 1
    start = stage.generated(Choice(label=5, seed=9)).image
    assert np.abs(stage.generated(Choice(label=5, seed=9, other_label=2, mix=0.5)).image.astype(int) - start).max() > 0


def test_a_point_is_in_the_query_that_covers_it(stage):
    layer = stage.generated(Choice()).layers[0]
    assert [query_at(layer, point) for point in ((0, 0), (0.99, 0), (1, 1), (0.5, 0.25))] == [0, 7, 63, 20]
    entropy, distance = layer_numbers(layer, 20, 16)
    row = layer.weights[20]
    assert entropy == pytest.approx(-np.sum(row * np.log(row)), rel=1e-4)
    assert 0 < distance < 16 * 2**0.5


def test_what_is_shown(stage):
    scene = stage.generated(Choice())
    points = telling_points(scene)
    assert len({query_at(scene.layers[0], point) for point in points}) == 3
    html = layers_html(scene, points)
    assert html.count("<figure") == 6
    assert 'data-layer="discriminator_8"' in html
    assert "<script" not in stage_html(scene, points, "<script>alert(1)</script>")
    assert Image.open(io.BytesIO(saved_picture(scene, points, "title"))).size[0] > 300
    assert "no attention layer" in layers_html(scene._replace(layers=()), points)


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
    points = telling_points(scene)
    assert points == []
    assert "no attention layer" in layers_html(scene, points)
    assert saved_picture(scene, [(0.5, 0.5)], "plain").startswith(b"\x89PNG")


def test_a_link_brings_everything_back():
    choice = Choice(3, 12, 0.7, 5, 0.25, 8, 0.5)
    points = [(0.25, 0.5), (1.0, 0.0)]
    query = to_query(choice, points)
    pairs = dict(pair.split("=") for pair in query.removeprefix("?").split("&"))
    assert from_query(pairs, 10) == (choice, points)
    assert from_query({}, 10) == (Choice(), None)
    assert from_query({"points": ""}, 10) == (Choice(), [])


def test_a_link_of_nonsense_is_harmless():
    nonsense = {"label": "99", "seed": "-5", "truncation": "x", "walk": "7", "points": "a,b_5_0.1,0.2,9" + "_1,1" * 9}
    choice, points = from_query(nonsense, 10)
    assert choice == Choice(label=9, walk=1.0)
    assert len(points) == 4
    assert all(0 <= value <= 1 for point in points for value in point)


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
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "g_gamma_8": 0.5}) + '\n{"step": 2, "g_g\n[]\n')
    assert read_timeline(epath.Path(tmp_path)).gammas == {1: {"g_gamma_8": 0.5}}
