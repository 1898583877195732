"""`load`: any trained model in Python, as the programs have it; and the examples of its documentation."""

import concurrent.futures
import dataclasses
import os
import re
import shutil
import subprocess
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest
from etils import epath
from places import ROOT
from tiny import applied, tiny_config

from sagan_jax import export, sample
from sagan_jax.errors import InputError
from sagan_jax.loading import load
from sagan_jax.models.discriminator import Discriminator
from sagan_jax.models.generator import Generator
from sagan_jax.portable.folder import save_model
from sagan_jax.runtime.checkpoint import Checkpoints
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.training.creation import fresh_state
from sagan_jax.training.networks import Networks
from sagan_jax.training.step_config import build_step_config


@pytest.fixture(scope="module")
def run(tiny_run):
    return load(tiny_run)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    assert export.main([f"--workdir={tiny_run}", f"--out={folder}", "--no-program"]) == 0
    return folder


def test_a_name_a_folder_and_a_workdir_are_all_models(digits, run, tiny_run, exported):
    assert (digits.card.name, digits.resolution, digits.card.latent_size) == ("digits", 16, 128)
    assert repr(run) == f"<Model {tiny_run.name}, step 6, 16 px, 10 classes>"
    folder = load(str(exported))
    for model in (digits, run, folder):
        assert model.class_names == tuple("0123456789")
        latents, labels = model.inputs("7", num=3, seed=5)
        images = applied(model.generator, model.variables, latents, labels, train=False)
        assert images.shape == (3, 16, 16, 3)
        assert applied(model.discriminator, model.discriminator_variables, images, labels).shape == (3,)
        shown = np.asarray(np.clip(np.round((images + 1) * 127.5), 0, 255), int)
        assert np.abs(model.sample("7", num=3, seed=5).astype(int) - shown).max() <= 1
    difference = folder.sample(num=20).astype(int) - run.sample(num=20)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("flags", "arguments"),
    [
        (["--num=10", "--seed=5"], {"seed": 5}),
        (["--num=130"], {"num": 130}),  # more than one call
        (["--classes=3,8", "--num=5", "--truncation=0.5"], {"classes": ["3", 8], "num": 5, "truncation": 0.5}),
    ],
)
def test_samples_are_those_of_the_program(run, tiny_run, tmp_path, flags, arguments):
    file = tmp_path / "images.npz"
    assert sample.main([f"--workdir={tiny_run}", f"--npz={file}", f"--out={tmp_path}", *flags]) == 0
    images = run.sample(**arguments)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.load(file)["images"])


def test_classes_are_names_and_labels_in_turn(run):
    for classes, labels in ((None, range(10)), ("3", [3]), (3, [3]), (["9", 0], [9, 0]), (np.array([1, 1]), [1, 1])):
        latents, found = run.inputs(classes)
        assert found.tolist() == list(labels)
        assert latents.shape == (len(found), 8)
    assert run.inputs(["9", 0], num=5)[1].tolist() == [9, 0, 9, 0, 9]
    np.testing.assert_array_equal(run.sample(4, num=2, seed=1)[0], run.sample([4, 9], num=7, seed=1)[0])


def test_attention_of_samples_is_that_of_both_networks(run):
    images, (maps, gammas) = run.attention(classes=[3, 8], num=130)  # more than one call
    assert np.abs(images.astype(int) - run.sample([3, 8], num=130)).max() <= 1
    assert {name: weights.shape for name, weights in maps.items()} == {
        "generator_8": (130, 64, 16),
        "discriminator_8": (130, 64, 16),
    }
    for name, params in (
        ("generator_8", run.variables["params"]),
        ("discriminator_8", run.discriminator_variables["params"]),
    ):
        np.testing.assert_allclose(maps[name].sum(axis=-1), 1, atol=1e-5)
        assert gammas[name] == float(params["attention_8"]["gamma"])
    given, (judged, _) = run.attention(images, classes=np.resize([3, 8], 130))
    np.testing.assert_array_equal(given, images)
    assert list(judged) == ["discriminator_8"]
    np.testing.assert_array_equal(judged["discriminator_8"], maps["discriminator_8"])
    few, (other, _) = run.attention(images[:2])
    np.testing.assert_allclose(other["discriminator_8"], maps["discriminator_8"][:2], atol=1e-6)
    assert len(few) == 2


IMAGES = np.zeros((2, 16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": "11"}, "classes=11 is no class of this model: did you mean 1? Labels are 0 to 9."),
        ({"classes": 10}, "classes=10 is no class"),
        ({"classes": -1}, "classes=-1 is no class"),
        ({"classes": [1, 2.5]}, "classes=2.5 is no class"),
        ({"num": 0}, "num = 0 must be a whole number from 1 to "),
        ({"num": 2.0}, "num = 2.0 must be a whole number"),
        ({"seed": -1}, "seed = -1 must be a whole number from 0 to 4,294,967,295"),
        ({"seed": 2**32}, "seed = 4294967296 must be"),
        ({"truncation": 0}, "truncation = 0 must be a number greater than 0"),
        ({"truncation": float("nan")}, "truncation = nan must be"),
        ({"truncation": "1"}, "truncation = '1' must be"),
    ],
)
def test_arguments_that_make_no_sense(digits, arguments, message):
    for method in (digits.sample, digits.attention):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            method(**arguments)


@pytest.mark.parametrize(
    ("images", "arguments", "message"),
    [
        (IMAGES[0], {}, "images are uint8 [16, 16, 3], but this model takes uint8 [N, 16, 16, 3]"),
        (IMAGES / 255, {}, "images are float64 [2, 16, 16, 3], but"),
        (IMAGES[:0], {}, "images are uint8 [0, 16, 16, 3], but"),
        (IMAGES[:, :8], {}, "images are uint8 [2, 8, 16, 3], but"),
        ("3", {}, "images are <U1 [], but"),
        (IMAGES, {"classes": [1, 2, 3]}, "3 classes for 2 images: give one of all, or one of each"),
        (IMAGES, {"seed": 3}, "num, seed and truncation are of samples"),
    ],
)
def test_images_that_the_discriminator_cannot_take(digits, images, arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        digits.attention(images, **arguments)


def test_a_model_without_a_discriminator_has_the_attention_of_its_generator(digits):
    alone = dataclasses.replace(digits, discriminator=None, discriminator_variables=None)
    assert list(alone.attention(num=1)[1].maps) == ["generator_8"]
    with pytest.raises(ValueError, match="has no discriminator: leave images out"):
        alone.attention(IMAGES)


def test_what_is_no_model_is_said_in_one_sentence(tmp_path, tiny_run):
    for wrong in (tmp_path, "digitz"):
        with pytest.raises(InputError, match="is neither a model that comes along .digits., nor .* nor the workdir of"):
            load(wrong)
    for more in ({"checkpoint": "best"}, {"networks": object()}):
        with pytest.raises(InputError, match="digits is an exported model, which has one state"):
            load("digits", **more)
    with pytest.raises(InputError, match="has no checkpoint 5: choose from newest, best or a step .6."):
        load(tiny_run, checkpoint=5)
    assert load(tiny_run, checkpoint=6).card.step == 6


PROGRAM = """
import asyncio, sys
import numpy as np
from sagan_jax.loading import load

async def in_a_notebook():  # whose cells run within a loop
    return load(sys.argv[1]).sample(num=4, seed=5)

np.save(sys.argv[2], asyncio.run(in_a_notebook()))
"""


def test_nothing_is_printed_and_one_device_makes_the_same_images(run, tiny_run, tmp_path):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(tiny_run), str(tmp_path / "images.npy")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    difference = np.load(tmp_path / "images.npy").astype(int) - run.sample(num=4, seed=5)
    assert np.abs(difference).max() <= 1


def test_several_threads_use_several_models_on_eight_devices(run, digits, tiny_run):
    assert run.sampler.mesh.devices.size == 8
    expected = {model: model.sample(num=30, seed=2) for model in (run, digits)}
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        found = [(model, threads.submit(model.sample, num=30, seed=2)) for model in (run, digits) * 10]
        opened = threads.submit(load, tiny_run)
        for model, images in found:
            np.testing.assert_array_equal(images.result(timeout=1200), expected[model])
        np.testing.assert_array_equal(opened.result(timeout=1200).sample(num=30, seed=2), expected[run])


class InvertedGenerator(Generator):
    """Own arithmetic with the arrays of the package's generator."""

    @nn.compact
    def __call__(self, latents, labels, *, train):
        return -super().__call__(latents, labels, train=train)


class WithMoreArrays(Discriminator):
    @nn.compact
    def __call__(self, images, labels):
        return super().__call__(images, labels) + self.param("offset", nn.initializers.ones, (1,))


@pytest.fixture(scope="module")
def own_run(tiny_run, tmp_path_factory):
    """A workdir whose checkpoint is of a user's own modules, and these."""
    workdir = tmp_path_factory.mktemp("own")
    config = tiny_config()
    config.model.num_classes = 10
    step_config = build_step_config(config)
    generator, discriminator = step_config.networks
    wider = dataclasses.replace(generator.architecture, widths=(12, 4, 2))
    networks = Networks(
        InvertedGenerator(wider, 10, generator.config),
        WithMoreArrays(discriminator.architecture, 10, discriminator.config),
    )
    state = fresh_state(dataclasses.replace(step_config, networks=networks), make_mesh(), jax.random.key(0))
    checkpoints = Checkpoints(workdir / "checkpoints", 1, 100)
    checkpoints.save(3, state)
    checkpoints.close()
    for name in ("config.json", "data.json"):
        shutil.copy(tiny_run / name, workdir)
    return workdir, networks


def test_a_run_of_own_modules_is_opened_with_them(own_run):
    workdir, networks = own_run
    with pytest.raises(InputError, match=r"checkpoint 3 of .* \(.*, and \d+ more\): pass .* as networks=") as caught:
        load(workdir)
    assert "ema_params/block_8/conv_0/kernel [3, 3, 12, 4] in place of [3, 3, 8, 4]" in str(caught.value)
    model = load(workdir, networks=networks)
    assert isinstance(model.generator, InvertedGenerator)
    assert isinstance(model.discriminator, WithMoreArrays)
    latents, labels = model.inputs(num=4)
    apart = Generator(model.generator.architecture, 10, model.generator.config)
    usual = np.asarray(applied(apart, model.variables, latents, labels, train=False))
    found = applied(model.generator, model.variables, latents, labels, train=False)
    np.testing.assert_allclose(found, -usual, atol=1e-6)
    images, attention = model.attention(num=4)
    assert np.abs((images / 127.5 - 1) + usual).max() < 0.01
    assert set(attention.maps) == {"generator_8", "discriminator_8"}
    with pytest.raises(InputError, match="cannot be exported: .* not InvertedGenerator"):
        save_model(epath.Path(workdir / "out"), model, "float32", with_program=False)


@pytest.mark.slow
def test_models_in_a_bucket(bucket, tiny_run, exported):
    program = (
        "import sys; from etils import epath; from sagan_jax.loading import load\n"
        "def copy(here, there):\n"
        "    for path in here.iterdir():\n"
        "        place = there / path.name\n"
        "        copy(path, place) if path.is_dir() else place.write_bytes(path.read_bytes())\n"
        "for folder, name in zip(sys.argv[1:], ('run', 'model')):\n"
        "    copy(epath.Path(folder), epath.Path('gs://bucket') / name)\n"
        "    print(load(f'gs://bucket/{name}').sample(num=2).shape)\n"
    )
    command = [sys.executable, "-c", program, str(tiny_run), str(exported)]
    environment = os.environ | bucket | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)
    assert result.stdout == "(2, 16, 16, 3)\n" * 2, result.stderr


def test_the_examples_of_the_documentation_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section = (ROOT / "docs" / "models.md").read_text().partition("\n## From Python\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert blocks
    names = {}
    for block in blocks:
        exec(block, names)
    assert names["images"].shape == (20, 16, 16, 3)
