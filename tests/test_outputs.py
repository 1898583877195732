"""Pictures, metrics, the workdir and timing."""

import json
import math
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import tiny_config

from sagan_jax.config import default_config
from sagan_jax.errors import InputError
from sagan_jax.evaluation.record import shown_value
from sagan_jax.evaluation.scores import Score
from sagan_jax.reporting.curves import panels
from sagan_jax.runtime.compilation_cache import enable_compilation_cache
from sagan_jax.runtime.pictures import PAPER, sample_sheet
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.settings import check_settings, save_settings
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.timing import Throughput, format_duration
from sagan_jax.runtime.workdir_access import open_workdir
from sagan_jax.sampling.attention import AttentionMaps
from sagan_jax.sampling.attention_picture import attention_picture, layer_line
from sagan_jax.sampling.heat import POINT_COLORS
from sagan_jax.sampling.numbers import signed, times
from sagan_jax.training.loop import train_and_evaluate
from sagan_jax.training.trained import open_trained
from sagan_jax.training.validation import free_fields


def test_sample_sheet_shows_every_image_in_its_row():
    colors = np.array([[(255, 0, 0), (0, 255, 0), (0, 0, 255)], [(9, 9, 9), (99, 99, 99), (199, 199, 199)]], np.uint8)
    images = np.broadcast_to(colors[:, :, None, None], (2, 3, 16, 16, 3))
    sheet = sample_sheet(images, ["first", "a very long class name, and more of it"], "title")
    for color in colors.reshape(-1, 3):
        assert (sheet == color).all(-1).sum() >= 64 * 64 - 1
    left = [np.where((sheet == color).all(-1))[1].min() for color in colors[0]]
    assert left == sorted(left)


def test_captions_stand_under_their_samples():
    images = np.full((1, 2, 64, 64, 3), 255, np.uint8)
    plain, named = (sample_sheet(images, [""], "title", captions) for captions in ([], ["", "a dog"]))
    assert named.shape[0] > plain.shape[0]
    below = named[plain.shape[0] - 4 :]
    dark = np.where((below < 120).all(-1))[1]
    assert plain.shape[1] // 2 < dark.min() < dark.max() < plain.shape[1]  # under the second
    wide = sample_sheet(images, [""], "a title that is a good deal wider than its two samples")
    assert (wide[:30, plain.shape[1] :] < 120).any()


def test_a_sheet_names_its_columns_and_its_rows_may_differ_in_length():
    rows = [np.full((count, 64, 64, 3), 255, np.uint8) for count in (2, 1)]
    plain, named = (sample_sheet(rows, ["", ""], "title", column_names=names) for names in ([], ["", "a latent"]))
    assert (plain[-40, 12 + 68 + 32] == PAPER).all()  # no second sample in the second row
    assert named.shape[0] == plain.shape[0] + 16
    above = np.where((named[30:46] < 120).all(-1))[1]
    assert 12 + 68 < above.min() < above.max() < named.shape[1]


def heat_of(weights):
    """The heat [N, 4, 4] from 0 to 255 of the first point's map of each image, whose keys are 4x4, and the picture."""
    count, tile = len(weights), 128
    images = np.zeros((count, 32, 32, 3), np.uint8)
    picture = attention_picture(images, AttentionMaps({"generator_8": weights}, {"generator_8": 0.5}), "title")
    left, cells = 4 + tile + 4, []
    for row in range(count):
        top = 30 + 24 + 30 + row * (tile + 18 + 4)
        whole = picture[top : top + tile, left : left + tile].reshape(4, 32, 4, 32, 3).swapaxes(1, 2)
        corners = whole[:, :, 4, 27], whole[:, :, 27, 4]  # beside the arrow, which goes down and to the right
        assert (corners[0] == corners[1]).all()  # cells have hard edges
        cells.append(corners[0].max(-1).astype(int))
    return np.stack(cells), picture


def test_attention_pictures_have_one_scale_for_a_layer_from_an_even_share_on():
    weights = np.full((2, 64, 16), 0.5 / 15, np.float32)
    weights[0, :, 5] = 0.5  # 8 times an even share
    weights[1] = 0.75 / 14
    weights[1, :, 5:7] = 0.125  # twice an even share
    (hot, warm), picture = heat_of(weights)
    assert hot[1, 1] > 150
    assert 30 < warm[1, 1] == warm[1, 2] < 0.6 * hot[1, 1]  # a third of the scale
    assert (np.delete(hot.reshape(-1), 5) == 0).all()  # below an even share there is nothing
    for color in POINT_COLORS:
        assert (picture == color).all(-1).any()


def test_even_attention_is_said_and_not_drawn():
    noise = 1 + 0.1 * np.random.default_rng(0).uniform(-1, 1, (1, 64, 16)).astype(np.float32)
    even = noise / noise.sum(axis=-1, keepdims=True)
    attention = AttentionMaps({"generator_8": even}, {"generator_8": -0.174})
    picture = attention_picture(np.zeros((1, 32, 32, 3), np.uint8), attention, "title").astype(int)
    of_blue_point = picture[84 : 84 + 128, 4 + 2 * 132 :][3:125, 3:125]
    assert not (of_blue_point[..., 0] > of_blue_point[..., 2] + 40).any()  # no heat
    assert (of_blue_point[53:69, 40:80] > 180).all(-1).any()  # the word
    assert layer_line("generator_8", attention, 32) == (
        "Generator 8×8, γ −0.174, entropy 100 %, mean distance 16.4 px, largest weight 1.1× that of even attention"
    )
    points = attention.layers("generator_8")[0].suggested_points(4)
    assert len(set(points)) == 4


def test_attention_picture_without_attention_says_so():
    picture = attention_picture(np.zeros((1, 32, 32, 3), np.uint8), AttentionMaps({}, {}), "title")
    assert (picture[30:55] < 120).all(-1).any()
    assert (picture[58:] == PAPER).all()


@pytest.mark.parametrize(
    ("written", "number"),
    [("1×", 1), ("1.4×", 1.43), ("9.9×", 9.94), ("10×", 9.96), ("22×", 21.8), ("123×", 123.4), ("1,024×", 1024)],
)
def test_multiples_are_written_for_people(written, number):
    assert times(number) == written


@pytest.mark.parametrize(
    ("written", "value", "std_error"),
    [("0.004568 ± 0.0027", 0.004568, 0.0027), ("12.34", 12.341, None), ("12,346 ± 123", 12345.6, 123.4)],
)
def test_scores_are_written_without_powers_of_ten(written, value, std_error):
    assert shown_value(Score("frechet", "FD", value, std_error)) == written


def test_gammas_and_logits_have_a_sign():
    assert (signed(-0.174, 2), signed(1.18, 2)) == ("−0.17", "+1.18")


def test_attention_of_both_networks_is_among_the_metrics(tmp_path):
    config = tiny_config()
    config.train.steps, config.log.pictures_every_steps = 2, 2
    train_and_evaluate(config, str(tmp_path))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = {name: value for row in rows for name, value in row.items() if "entropy" in name or "distance" in name}
    assert found.keys() == {"g_entropy_8", "g_distance_8", "d_entropy_8", "d_distance_8"}
    model = open_trained(str(tmp_path), "newest", make_mesh(), with_discriminator=True)
    sheet = model.sampler.fixed_latents(2, stream_key(config.seed, "sheet"))[:1]
    latents, labels = np.repeat(sheet, 4, axis=0), np.arange(4)  # the first column of the sheet
    images, maps = model.sampler.attention(model.variables, latents, labels)
    for name, weights in (("g_entropy_8", maps), ("d_entropy_8", model.discriminate(images, labels)[1])):
        weights = weights["attention_8"]
        assert found[name] == pytest.approx(-np.mean(np.sum(weights * np.log(weights), axis=-1)), abs=1e-4)
    assert [title for title, _ in panels(rows) if "attention" in title] == [
        "attention gammas",
        "entropy of attention, nats",
        "mean distance of attention, pixels",
    ]


@pytest.mark.parametrize(
    ("name", "values", "limits", "words"),
    [
        ("g_entropy_16", (4.1, 3.9), (0, 1.1 * math.log(64)), "even at 16×16"),
        ("d_distance_8", (8, 9), (0, 9.9), ""),
        ("d_accuracy", (0.6, 0.7), (0, 1), "guessing"),
        ("g_gamma_8", (0.5, 0.6), None, "off"),
        ("images_per_s", (900, 1000), (0, 1100), ""),
        ("eval/frechet", (30, 20), (0, 33), ""),
        ("eval/coverage", (0.5, 0.6), (0, 1), ""),
        ("eval/kernel", (-0.1, 0.1), None, ""),
    ],
)
def test_axes_of_curves_begin_where_that_means_something(monkeypatch, name, values, limits, words):
    made, subplots = [], plt.subplots
    monkeypatch.setattr(plt, "subplots", lambda **options: made.append(subplots(**options)) or made[-1])
    [(_, svg)] = panels([{"step": step, name: value} for step, value in zip((1000, 2000), values, strict=True)])
    axes = made[0][1]
    assert axes.get_xlim()[0] == 0
    if limits:
        assert axes.get_ylim() == pytest.approx(limits)
    assert f"<!-- {words}" in svg
    assert "<!-- 2,000 -->" in svg
    drawn = [values for line in axes.lines for values in line.get_ydata()]
    assert axes.get_ylim()[0] <= min(drawn) <= max(drawn) <= axes.get_ylim()[1]  # the line with the words as well


def test_workdir_refuses_other_settings(tmp_path):
    settings = {"train": {"steps": 5, "loss": "hinge"}, "log": {"every_steps": 1}}
    check_settings(tmp_path, "config.json", settings, free=(), defaults={})
    save_settings(tmp_path, "config.json", settings)
    longer = {"train": {"steps": 9, "loss": "hinge"}, "log": {"every_steps": 3}}
    check_settings(tmp_path, "config.json", longer, free=("log", "train.steps"), defaults={})
    with pytest.raises(InputError, match="log.every_steps = 3, but the run .* was started with 1"):
        check_settings(tmp_path, "config.json", longer, free=("train.steps",), defaults={})
    for damaged in ('{"train"', "[]"):
        (tmp_path / "config.json").write_text(damaged)
        with pytest.raises(InputError, match="config.json is damaged"):
            check_settings(tmp_path, "config.json", settings, free=(), defaults={})


def test_steps_may_grow_only_where_the_learning_rate_does_not_decay_over_them():
    config = default_config()
    assert "train.steps" in free_fields(config)
    config.optimizer.discriminator.schedule = "cosine"
    assert "train.steps" not in free_fields(config)


def test_workdir_must_be_writable(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="--workdir=.*file.* cannot be written to"),
        open_workdir(str(tmp_path / "file")),
    ):
        pass


def test_a_workdir_has_one_run_at_a_time(tmp_path):
    with (
        open_workdir(str(tmp_path)),
        pytest.raises(InputError, match=r"in use by another run \(process \d+ on .*\): wait for it"),
        open_workdir(str(tmp_path)),
    ):
        pass
    with open_workdir(str(tmp_path)) as folder:
        assert folder == tmp_path


def test_throughput_leaves_out_compilation_and_pauses():
    now = [0.0]
    throughput = Throughput(64, clock=lambda: now[0])
    for seconds in (60, 1, 1):  # the first step compiles
        with throughput.waiting_for_data(lambda: False):
            now[0] += seconds / 4
        with throughput.waiting_for_data(lambda: True):
            now[0] += seconds / 4
        now[0] += seconds / 2
        throughput.count_steps(1)
    assert throughput.report() == {"steps_per_s": 1.0, "images_per_s": 64.0, "data_wait": 0.25}
    throughput.pause()
    for seconds in (30, 2):  # a picture is drawn before the first of these
        now[0] += seconds
        throughput.count_steps(1)
    assert throughput.report() == {"steps_per_s": 0.5, "images_per_s": 32.0, "data_wait": 0.0}
    assert throughput.report() == {}


def test_duration():
    assert [format_duration(s) for s in (61, 3661, 90000)] == ["0:01:01", "1:01:01", "1d 1:00:00"]


def test_compiled_programs_are_kept_where_nothing_else_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}
    try:
        enable_compilation_cache()
        assert jax.config.values["jax_compilation_cache_dir"] == before["jax_compilation_cache_dir"]
        jax.config.update("jax_compilation_cache_dir", None)
        enable_compilation_cache()
        folder = Path(jax.config.values["jax_compilation_cache_dir"])
        assert folder.parent == tmp_path / ".cache" / "sagan_jax" / "compiled"
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
