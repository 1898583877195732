"""The command line as a person uses it: real processes, real data on disk."""

import json

import numpy as np
import pytest
from PIL import Image
from runs import ended, start_program
from tiny import tiny_config

from sagan_jax.data.pipeline import Pipeline
from sagan_jax.data.source import open_source

pytestmark = pytest.mark.slow
SMALL = [
    *("--config.model.generator.channels=2", "--config.model.discriminator.channels=2"),
    *("--config.model.compute_dtype=float32", "--config.sampling.batch_size=4", "--config.sampling.standing_batches=1"),
    *("--config.log.every_steps=1", "--config.log.sheet_classes=3", "--config.log.sheet_columns=2"),
    *("--config.data.resolution=16", "--config.model.generator.attention=(8,)"),
    "--config.model.discriminator.attention=(8,)",
]


def run_main(*flags, **options):
    """The exit status of the training program, and all that it says."""
    (status,), (output,) = ended(start_program("main", *flags, devices=1, **options))
    return status, output


def rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_digits_are_learned_and_the_run_continues(tmp_path):
    """With half the demo's batch and a third of its steps."""
    flags = ["--config=configs/digits.py", f"--workdir={tmp_path}", "--config.train.batch_size=32"]
    optimised = {"environment": {"JAX_DISABLE_MOST_OPTIMIZATIONS": "false"}}
    status, output = run_main(*flags, "--config.train.steps=100", "--config.eval.features=", **optimised)
    assert status == 0, output
    status, output = run_main(*flags, "--config.train.steps=700", **optimised)
    assert status == 0, output
    assert "continuing at step 100 of 700" in output
    assert "step 700/700" in output
    assert "images/s" in output
    for kind in ("samples", "attention"):
        path = tmp_path / kind / "00000700.png"
        assert str(path) in output
        assert Image.open(path).size[0] > 300
    measured = rows(tmp_path)[-1]
    # 0.99 and 0.52 were seen: far from chance (0.1) and from one digit per class (0).
    assert measured["eval/label_accuracy"] > 0.8
    assert measured["eval/coverage"] > 0.3


@pytest.mark.parametrize("imagenet", ["array_record"], indirect=True)
def test_imagenet_trains_on_tfds_data(imagenet, tmp_path):
    flags = [f"--config.data.data_dir={imagenet}", "--config.train.batch_size=4", *SMALL]
    flags += ["--config=configs/imagenet128.py", f"--workdir={tmp_path}", "--config.train.steps=2"]
    status, output = run_main(*flags, tensorflow=True)
    assert status == 0, output
    assert "12 images, 1000 classes" in output
    assert [row["step"] for row in rows(tmp_path)] == [1, 2]
    assert all(np.isfinite(value) for row in rows(tmp_path) for value in row.values())
    assert (tmp_path / "samples" / "00000002.png").exists()


def test_tfds_reader_gives_every_image_once_per_epoch(imagenet):
    config = tiny_config()
    config.data.update(source="tfds:imagenet2012", data_dir=str(imagenet))
    config.train.batch_size = 4
    config.model.num_classes = 1000
    source = open_source(config)

    def labels(first, last, seed=0):
        config.seed = seed
        return np.concatenate([batch.labels.ravel() for batch in Pipeline(config, source).batches(first, last)])

    run = labels(0, 6)
    assert sorted(run[:12]) == sorted(run[12:]) == [i * 90 for i in range(12)]
    assert list(run[:12]) != list(run[12:])
    np.testing.assert_array_equal(labels(4, 6), run[16:])
    assert list(labels(0, 3, seed=1)) != list(run[:12])


def test_folder_of_images_trains(tmp_path):
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(5):
            Image.fromarray(random.integers(0, 256, (150, 130, 3), np.uint8)).save(
                tmp_path / "images" / name / f"{i}.png"
            )
    flags = [f"--config.data.source=folder:{tmp_path / 'images'}", *SMALL]
    flags += ["--config.train.steps=2", "--config.train.batch_size=4"]
    status, output = run_main("--config=configs/folder128.py", f"--workdir={tmp_path / 'run'}", *flags)
    assert status == 0, output
    assert "10 images, 2 classes (cat, dog)" in output
    assert {"g_gamma_8", "d_gamma_8"} <= set(rows(tmp_path / "run")[-1])


BAD_INPUT = {
    "no config": ([], "--config is missing"),
    "missing config file": (["--config=configs/nothing.py"], "configs/digits.py"),
    "unknown field": (["--config=configs/digits.py", "--config.train.stepz=3"], "train.stepz"),
    "unknown group": (["--config=configs/digits.py", "--config.trane.steps=3"], "train.steps"),
    "wrong type": (["--config=configs/digits.py", "--config.train.steps=many"], "train.steps"),
    "stray word": (["--config=configs/digits.py", "fast"], "'fast' is not a flag"),
    "unknown flag": (["--confg=configs/digits.py"], "confg"),
    "resolution": (["--config=configs/digits.py", "--config.data.resolution=100"], "data.resolution = 100"),
    "attention": (["--config=configs/digits.py", "--config.model.generator.attention=(32,)"], "asks for 32 px"),
    "classes": (["--config=configs/digits.py", "--config.model.num_classes=7"], "model.num_classes = 7"),
    "steps": (["--config=configs/digits.py", "--config.train.steps=0"], "train.steps = 0"),
    "loss": (["--config=configs/digits.py", "--config.train.loss=wgan"], "train.loss = 'wgan'"),
    "pieces": (["--config=configs/digits.py", "--config.train.accumulation_steps=7"], "train.batch_size = 64"),
    "tuple": (["--config=configs/digits.py", "--config.model.generator.attention=(8"], "error: "),
    "multipliers": (["--config=configs/digits.py", "--config.model.generator.multipliers=(4,2,0.5)"], "multipliers"),
    "samples": (["--config=configs/digits.py", "--config.eval.num_samples=1"], "eval.num_samples = 1"),
    "scores without classes": (
        ["--config=configs/digits.py", "--config.model.num_classes=0", "--config.eval.best=label_accuracy"],
        "compares classes",
    ),
    "features": (["--config=configs/digits.py", "--config.eval.features=vgg"], "'vgg'"),
    "weights": (["--config=configs/digits.py", "--config.eval.features=resnet56_cifar10"], "needs the file"),
    "no data": (["--config=configs/imagenet128.py", "--config.data.data_dir=/nowhere"], "download_and_prepare"),
    "not prepared": (["--config=configs/folder128.py"], "python -m sagan_jax.prepare --source="),
    "no folder": (["--config=configs/folder128.py", "--config.data.source=folder:images"], "folder:images"),
    "workdir": (["--config=configs/digits.py", "--workdir=setup.cfg/run"], "--workdir=setup.cfg/run"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_gets_one_clear_sentence(case, tmp_path):
    flags, words = BAD_INPUT[case]
    if not any("--workdir" in flag for flag in flags):
        flags = [*flags, f"--workdir={tmp_path / 'run'}"]
    status, output = run_main(*flags, tensorflow=True)
    assert status == 2, output
    *_, message = output.strip().splitlines()
    assert message.startswith("error: ")
    assert words in message
    assert "Traceback" not in output
    assert not (tmp_path / "run").exists()
