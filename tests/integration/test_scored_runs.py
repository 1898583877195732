"""Scores of runs: while they train, from their workdir afterwards, and on a page."""

import json
import os
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from etils import epath
from PIL import Image
from tiny import tiny_config

from sagan_jax import evaluate, report
from sagan_jax.data.digits import Digits
from sagan_jax.errors import InputError
from sagan_jax.reporting.page import report_page
from sagan_jax.runtime.checkpoint import BestCheckpoint, SavedCheckpoints
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.writer import MetricWriter
from sagan_jax.training import evaluation, loop
from sagan_jax.training.evaluation import open_comparison
from sagan_jax.training.loop import train_and_evaluate
from sagan_jax.training.trained import open_trained
from sagan_jax.training.validation import validate_config


def scored_config(cache_dir, steps=4):
    config = tiny_config()
    config.train.steps = steps
    config.eval.update(features="classifier", every_steps=2, num_samples=48, cache_dir=str(cache_dir))
    return config


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def workdir(cache, tmp_path_factory):
    """A run of four steps, scored after two and four."""
    folder = tmp_path_factory.mktemp("runs") / "scored"
    train_and_evaluate(scored_config(cache), str(folder))
    return folder


def score_rows(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    scored = [row for row in rows if "eval/fd_classifier" in row]
    return {row["step"]: {name: value for name, value in row.items() if name.startswith("eval/")} for row in scored}


def test_a_run_is_scored_while_it_trains(workdir):
    rows = score_rows(workdir)
    assert list(rows) == [2, 4]
    assert all(np.isfinite(value) for row in rows.values() for value in row.values())
    assert 0 < rows[4]["eval/fraction_of_time"] < 1
    (file,) = (workdir / "evaluations").glob("00000004-classifier-*.json")
    saved = json.loads(file.read_text())
    assert saved["scores"]["fd_classifier"]["value"] == rows[4]["eval/fd_classifier"]
    assert saved["protocol"]["generated"]["step"] == 4
    assert Image.open(workdir / "neighbours" / "00000004.png").size[0] > 300


def test_the_best_checkpoint_is_kept(workdir):
    rows = score_rows(workdir)
    best = min(rows, key=lambda step: rows[step]["eval/fd_classifier"])
    checkpoints = SavedCheckpoints(workdir / "best")
    assert checkpoints.steps() == [best]
    checkpoints.close()
    assert open_trained(str(workdir), "best", make_mesh()).card.step == best


def test_the_best_of_a_resumed_run_is_still_the_best(tmp_path):
    state = {"weights": np.arange(3.0)}

    def resumed():
        return BestCheckpoint(tmp_path / "best", "FID", lower_is_better=True)

    checkpoints = resumed()
    assert checkpoints.score() is None
    assert checkpoints.save_if_better(1, state, 5.0)
    assert not checkpoints.save_if_better(2, state, 5.0)
    checkpoints.close()
    checkpoints = resumed()
    assert checkpoints.score() == 5.0
    assert not checkpoints.save_if_better(3, state, 6.0)
    assert checkpoints.save_if_better(4, state, 4.5)
    assert checkpoints.steps() == [4]
    checkpoints.close()
    with pytest.raises(InputError, match=r"is the best by another measure \(FID\)"):
        BestCheckpoint(tmp_path / "best", "KID", lower_is_better=True)
    higher = BestCheckpoint(tmp_path / "higher", "precision", lower_is_better=False)
    assert higher.save_if_better(1, state, 0.5)
    assert not higher.save_if_better(2, state, 0.4)
    assert higher.save_if_better(3, state, 0.6)
    higher.close()


class TextWriter(MetricWriter):
    def __init__(self):
        self.texts = {}

    def write_texts(self, step, texts):
        self.texts |= {(step, name): text for name, text in texts.items()}


def names_of_scores(workdir):
    return sorted(file.name for file in (workdir / "evaluations").iterdir())


def test_a_scored_run_continues(workdir, cache, tmp_path):
    """Scores draw nothing from the run's random numbers, and a stop between them changes nothing."""
    halves = tmp_path / "halves"
    train_and_evaluate(scored_config(cache, steps=2), str(halves))
    own = TextWriter()
    train_and_evaluate(scored_config(cache), str(halves), writers=[own])
    (file,) = (halves / "evaluations").glob("00000004-*.json")
    assert json.loads(own.texts[4, "eval/protocol"]) == json.loads(file.read_text())["protocol"]
    whole, parts = score_rows(workdir), score_rows(halves)
    assert list(parts) == [2, 4]
    assert names_of_scores(halves) == names_of_scores(workdir)
    for step, row in whole.items():
        assert {k: v for k, v in parts[step].items() if "time" not in k} == {
            k: v for k, v in row.items() if "time" not in k
        }


def test_evaluating_a_workdir_gives_the_scores_of_the_run(workdir, cache, tmp_path, capsys):
    before = sorted(str(path) for path in workdir.rglob("*"))
    flags = [f"--workdir={workdir}", "--features=classifier", f"--cache-dir={cache}", "--batch-size=16"]
    out = tmp_path / "scores.json"
    assert evaluate.main([*flags, "--samples=48", f"--out={out}"]) == 0
    assert sorted(str(path) for path in workdir.rglob("*")) == before
    scores = json.loads(out.read_text())["scores"]
    row = score_rows(workdir)[4]
    for name, score in scores.items():
        assert score["value"] == pytest.approx(row[f"eval/{name}"], rel=1e-6), name
    assert Image.open(out.with_suffix(".png")).size[0] > 300
    text = " ".join(capsys.readouterr().out.split())
    for fact in ("images 48", "standing statistics 2 batches of 16", "seed 0", "truncation none", "step 4"):
        assert fact in text
    assert evaluate.main([*flags, "--samples=16", "--truncation=0.5", f"--out={out}", "--checkpoint=4"]) == 0
    assert json.loads(out.read_text())["protocol"]["generated"]["truncation"] == 0.5


def test_truncated_latents_stay_within_bounds(workdir):
    import jax

    sampler = open_trained(str(workdir), "newest", make_mesh()).sampler
    latents = sampler.fixed_latents(50, jax.random.key(0), truncation=0.5)
    assert np.abs(latents).max() <= 0.5
    assert np.abs(latents).max() > 0.45
    assert np.abs(sampler.fixed_latents(50, jax.random.key(0))).max() > 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workdir=nowhere"], "nowhere is no folder of a run"),
        (["--workdir={run}", "--checkpoint=7"], "has no checkpoint 7: choose from newest, best or a step (2, 4)"),
        (["--workdir={run}", "--features=vgg"], "--features=vgg is unknown: choose from inception2015"),
        (["--workdir={run}", "--batch-size=3"], "--batch-size=3 is not divisible by the 8 devices"),
        (["--workdir={run}", "--features=inception2015", "--weights=none.pth"], "no file of weights none.pth"),
        (["--workdir={run}", "--real=prepared:none", "--features=classifier"], "none"),
        (["--workdir={run}", "--features=classifier", "--out=setup.cfg/x.json"], "--out=setup.cfg/x.json cannot be"),
        (["--fake=none", "--real=digits"], "there is no folder or zip archive none"),
        (
            ["--workdir={run}", "--features=classifier", "--split=test"],
            "--split=test is for tfds: data, not for digits",
        ),
        (["--workdir={run}", "--data-dir=tests"], "--data-dir=tests is for tfds: data, not for digits: leave it out"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_sentence(workdir, flags, message, capsys):
    assert evaluate.main([flag.format(run=workdir) for flag in flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "one of the arguments --workdir --fake is required"),
        (["--fake=x"], "--fake goes with --real"),
        (["--fake=x", "--workdir=y"], "not allowed with"),
        (["--workdir=x", "--out=tests"], "--out=tests must end with .json"),
        (["--workdir=x", "--samples=1"], "1 is not a number from 2 to 10,000,000"),
        (["--workdir=x", "--truncation=0"], "0 is not a number greater than 0"),
        (["--workdir=x", "--resize=bicubic"], "invalid choice"),
    ],
)
def test_wrong_flags(flags, message, capsys):
    with pytest.raises(SystemExit):
        evaluate.main(flags)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"features": "vgg"}, "eval.features = 'vgg' is unknown: choose from inception2015"),
        ({"features": "classifier", "best": "fid"}, "eval.best = 'fid' is unknown: choose from frechet"),
        ({"features": "classifier", "best": "spatial_frechet"}, "'spatial_frechet' cannot be measured with classifier"),
        ({"features": "inception2015:768", "best": "inception_score"}, "cannot be measured with inception2015:768"),
        ({"features": "classifier", "num_real": 1}, "eval.num_real = 1 is too few"),
        ({"features": "classifier", "num_samples": 1}, "eval.num_samples = 1 is too few"),
        ({"features": "inception2015", "resize": "nearest"}, "resize = 'nearest' is unknown"),
        ({"features": "inception2015", "every_steps": -1}, "eval.every_steps = -1 is out of range"),
    ],
)
def test_settings_that_cannot_work(setting, message):
    config = tiny_config()
    config.eval.update(setting)
    with pytest.raises(InputError, match=message):
        validate_config(config)


def test_the_best_by_class_needs_classes():
    config = tiny_config()
    config.model.num_classes = 0
    config.eval.update(features="inception2015", best="label_accuracy")
    with pytest.raises(InputError, match="compares classes, but model.num_classes = 0"):
        open_comparison(config, Digits(16))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"best": "label_accuracy", "num_real": 12},
            "at least 4 real images of each class, but a class has fewer among",
        ),
        (
            {"best": "intra_class_frechet", "num_samples": 10},
            "a class with at least 2 real and as many generated images",
        ),
        ({"best": "coverage", "num_samples": 9}, "needs at least 10 images of each kind"),
        ({"best": "coverage", "num_real": 9}, "needs at least 10 images of each kind"),
    ],
)
def test_the_best_by_what_cannot_be_measured_is_refused(setting, message):
    config = tiny_config()
    config.model.num_classes = 10
    config.eval.update(features="inception2015", **setting)
    with pytest.raises(InputError, match=message):
        open_comparison(config, Digits(16))


def test_a_best_that_cannot_be_measured_after_all_loses_nothing(workdir, cache, tmp_path, monkeypatch, capsys):
    config = scored_config(cache, steps=1)
    config.eval.update(best="intra_class_frechet", num_samples=10)  # one of each class
    monkeypatch.setattr(evaluation, "_check_best", lambda *_: None)
    opened = loop.open_comparison
    monkeypatch.setattr(loop, "open_comparison", lambda *arguments: opened(*arguments)._replace(seconds=1e6))
    train_and_evaluate(config, str(tmp_path))
    said = " ".join(capsys.readouterr().out.split())
    assert "eval.best = 'intra_class_frechet' could not be measured" in said
    (file,) = (tmp_path / "evaluations").glob("00000001-classifier-*.json")
    value = json.loads(file.read_text())["scores"]["fd_classifier"]["value"]
    row = score_rows(tmp_path)[1]
    assert row["eval/fd_classifier"] == value
    assert row["eval/fraction_of_time"] > 0.99, "opening what is compared with belongs to the evaluation"
    checkpoints = SavedCheckpoints(tmp_path / "best")
    assert checkpoints.steps() == []
    checkpoints.close()
    usual = {name.rpartition("-")[2] for name in names_of_scores(workdir)}
    assert len(usual) == 1
    assert file.name.rpartition("-")[2] not in usual, "10 samples are another protocol than 48"


def test_another_protocol_is_written_to_another_file(tmp_path):
    np.savez(tmp_path / "fake.npz", images=np.zeros((4, 16, 16, 3), np.uint8))

    def file(*flags):
        flags = [f"--fake={tmp_path / 'fake.npz'}", "--real=digits", "--features=inception2015:768", *flags]
        return evaluate.samples_subject(evaluate.parse_arguments(flags)).result

    usual = file()
    assert re.fullmatch(r"fake.npz-inception2015-768-\w{8}.json", usual.name)
    assert usual == file("--batch-size=8")
    assert len({usual, file("--resize=clean"), file("--real-images=100"), file("--weights=other.npz")}) == 4


def test_a_stream_cannot_be_compared_with():
    config = tiny_config()
    config.eval.features = "inception2015"
    with pytest.raises(InputError, match="needs random access to real images, which a stream lacks"):
        open_comparison(config, SimpleNamespace(name="a stream", class_names=("a", "b")))


def test_a_page_shows_the_run(workdir, tmp_path, capsys):
    assert report.main([f"--workdir={workdir}", f"--out={tmp_path / 'page.html'}"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert str(tmp_path / "page.html") in capsys.readouterr().out
    for part in ("FD-classifier ↓", "weights averaged", "<h2>Samples</h2>", "<h2>Nearest real images</h2>", "losses"):
        assert part in page
    assert page.count("<svg") == page.count("</svg>") >= 7
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page), "it must need no other file"
    assert page.count("<th>FD-classifier ↓</th>") == 1
    other = shutil.copytree(workdir, tmp_path / "other")
    (file,) = (other / "evaluations").glob("00000004-*.json")
    text = file.read_text().replace('"images": 48', '"images": 49')
    (other / "evaluations" / "00000004-classifier-00000000.json").write_text(text)  # another protocol, written last
    os.utime(file, (0, 0))
    again = report_page(epath.Path(other))
    assert again.count("<th>FD-classifier ↓</th>") == 1
    assert "images 49" in again
    first = page
    assert report.main([f"--workdir={workdir}", f"--out={tmp_path / 'page.html'}"]) == 0
    assert (tmp_path / "page.html").read_text() == first
    assert report.main([f"--workdir={tmp_path}"]) == 2
    assert "is no folder of a run" in capsys.readouterr().err
    for name in ("data.json", "config.json"):
        (tmp_path / name).write_text("{}")
    assert report.main([f"--workdir={tmp_path}"]) == 2
    assert "data.json is damaged" in capsys.readouterr().err
