"""Portable models: what is written is what was trained, and what is damaged is refused in one sentence."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from etils import epath
from PIL import Image
from tiny import applied

from sagan_jax import export, sample
from sagan_jax.errors import InputError
from sagan_jax.evaluation.record import Evaluation
from sagan_jax.evaluation.scores import Score
from sagan_jax.portable.folder import load_model, save_model
from sagan_jax.renamed import KEYS
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.sampling.card import card_from_json, card_to_json
from sagan_jax.training.evaluation import evaluation_file
from sagan_jax.training.trained import open_trained


@pytest.fixture(scope="module")
def portable(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("portable") / "model"
    assert export.main([f"--workdir={tiny_run}", f"--out={folder}"]) == 0
    return folder


@pytest.fixture
def copy(portable, tmp_path):
    for file in portable.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def live_images(tiny_run, latents, labels):
    """Of the averaged generator as training samples it, in [-1, 1]."""
    model = open_trained(str(tiny_run), "newest", make_mesh())
    return np.asarray(applied(model.sampler.generator, model.variables, latents, labels, train=False))


def inputs(count):
    latents = np.asarray(jax.random.normal(stream_key(3, "test"), (count, 8)))
    return latents, np.arange(count, dtype=np.int32) % 10


def test_the_weights_are_those_of_the_averaged_generator(tiny_run, portable):
    latents, labels = inputs(12)
    model = load_model(str(portable), make_mesh(), 16, with_discriminator=True)
    found = applied(model.card.build_generator(), model.variables, latents, labels, train=False)
    np.testing.assert_allclose(found, live_images(tiny_run, latents, labels), atol=1e-6)
    kernel = np.asarray(model.variables["params"]["block_16"]["conv_0"]["kernel"])
    assert np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]))[1][0] == pytest.approx(1, abs=1e-5)
    images = model.sampler.images(model.variables, latents, labels)
    trained = open_trained(str(tiny_run), "newest", make_mesh(), with_discriminator=True)
    for expected, value in zip(
        jax.tree.leaves(trained.discriminate(images, labels)),
        jax.tree.leaves(model.discriminate(images, labels)),
        strict=True,
    ):
        np.testing.assert_allclose(value, expected, atol=1e-5)


PROGRAM = """
import sys
import jax
import numpy as np
latents, labels = (np.load(f"{sys.argv[2]}/{name}.npy") for name in ("latents", "labels"))
program = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
for count in (1, len(labels)):
    images = program.call(latents[:count], labels[:count])
np.save(f"{sys.argv[2]}/images.npy", images)
assert not any(name.split(".")[0] in ("sagan_jax", "flax", "optax") for name in sys.modules)
print(*program.platforms)
"""


def test_the_program_needs_nothing_of_ours(tiny_run, portable, tmp_path):
    latents, labels = inputs(20)
    np.save(tmp_path / "latents.npy", latents)
    np.save(tmp_path / "labels.npy", labels)
    command = [sys.executable, "-c", "import jax.export" + PROGRAM, portable / "generator.stablehlo", tmp_path]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"JAX_PLATFORMS": "cpu"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["cpu", "cuda", "tpu"]
    np.testing.assert_allclose(np.load(tmp_path / "images.npy"), live_images(tiny_run, latents, labels), atol=1e-4)


def test_nothing_is_left_of_a_model_that_was_there(portable, tmp_path, monkeypatch):
    for name in ("model.json", "generator.safetensors", "discriminator.safetensors", "generator.stablehlo"):
        (tmp_path / name).write_text("another model's")
    judged = load_model(str(portable), make_mesh(), 16, with_discriminator=True)
    alone = dataclasses.replace(judged, discriminator=None, discriminator_variables=None)
    save_model(epath.Path(tmp_path), alone, "float32", with_program=False)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["generator.safetensors", "model.json"]

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("sagan_jax.portable.folder.generator_program", full)
    with pytest.raises(OSError, match="no space"):
        save_model(epath.Path(tmp_path), judged, "float32", with_program=True)
    assert not (tmp_path / "model.json").exists()  # without it nobody takes what is there for a model


def test_a_model_that_is_not_what_was_trained_is_none(portable, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export, "run_program", lambda program, latents, labels: np.zeros((4, 16, 16, 3)))
    assert export.main([f"--model={portable}", f"--out={tmp_path}"]) == 1
    assert "makes other images" in capsys.readouterr().err
    assert not (tmp_path / "model.json").exists()


def test_half_precision_is_half_as_large(portable, tmp_path, capsys):
    assert export.main([f"--model={portable}", f"--out={tmp_path}", "--precision=float16", "--no-program"]) == 0
    sizes = [(folder / "generator.safetensors").stat().st_size for folder in (tmp_path, portable)]
    assert sizes[0] < 0.75 * sizes[1]
    assert not (tmp_path / "generator.stablehlo").exists()
    assert "images differ by at most" in capsys.readouterr().out


def test_the_card_tells_where_a_model_comes_from(portable, tiny_run):
    card = json.loads((portable / "model.json").read_text())
    assert card["step"] == 6
    assert card["class_names"] == [str(digit) for digit in range(10)]
    assert card["origin"]["config"]["train"]["batch_size"] == 16
    assert card["origin"]["data"]["num_images"] == 1797


def test_the_card_has_the_scores_of_its_step(tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    for step, value in ((4, 30.0), (6, 20.0)):
        protocol = {"generated": {"step": step, "images": 40}}
        score = Score("frechet", "FD-classifier", value)
        Evaluation((score,), protocol, ("few images",), {"scores": 0.5}).save(
            evaluation_file(epath.Path(run), step, "classifier", {"samples": 40})
        )
    assert export.main([f"--workdir={run}", f"--out={tmp_path / 'model'}", "--no-program"]) == 0
    [kept] = json.loads((tmp_path / "model" / "model.json").read_text())["evaluations"]
    assert kept["scores"]["fd_classifier"]["value"] == 20.0
    assert kept["protocol"] == {"generated": {"step": 6, "images": 40}}
    assert load_model(str(tmp_path / "model"), make_mesh(), 16).card.evaluations[0] == kept


def test_samples_of_the_portable_model_are_those_of_the_run(tiny_run, portable, tmp_path):
    for name, flag in (("run", f"--workdir={tiny_run}"), ("portable", f"--model={portable}")):
        assert sample.main([flag, "--num=4", f"--out={tmp_path / name}"]) == 0
    names = [file.name for file in (tmp_path / "run" / "images").iterdir()]
    assert len(names) == 4
    for name in names:
        files = (tmp_path / which / "images" / name for which in ("run", "portable"))
        first, second = (np.asarray(Image.open(file)).astype(int) for file in files)
        assert np.abs(first - second).max() <= 1


def rewrite_card(folder, **changes):
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | changes))


def rewrite_weights(folder, change):
    file = folder / "generator.safetensors"
    arrays = safetensors.numpy.load_file(file)
    change(arrays)
    safetensors.numpy.save_file(arrays, file)


def cut_short(folder):
    file = folder / "generator.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def with_old_names(content):
    """As the version before the renamed keys wrote it."""
    if isinstance(content, dict):
        old = {new: old for old, new in KEYS.items()}
        return {old.get(key, key): with_old_names(value) for key, value in content.items()}
    return [with_old_names(value) for value in content] if isinstance(content, list) else content


def test_a_card_with_the_names_of_earlier_versions_is_read(copy):
    evaluation = {"scores": {"fd": {"value": 3.0, "std_error": 0.1}}, "warnings": ["few images"]}
    rewrite_card(copy, class_frequencies=[0.1] * 10, evaluations=[evaluation])
    expected = load_model(str(copy), make_mesh(), 16).card
    text = json.dumps(with_old_names(json.loads((copy / "model.json").read_text())))
    assert all(f'"{old}"' in text and f'"{new}"' not in text for old, new in KEYS.items())
    (copy / "model.json").write_text(text)
    found = load_model(str(copy), make_mesh(), 16).card
    assert found == expected
    assert (found.class_frequencies, found.evaluations) == ((0.1,) * 10, (evaluation,))
    assert card_from_json(card_to_json(found), "") == found


def test_fields_that_a_card_lacks_have_their_defaults(copy):
    expected = load_model(str(copy), make_mesh(), 16)
    card = json.loads((copy / "model.json").read_text())
    for name in ("class_frequencies", "evaluations", "inplace_relu"):
        del card[name]
    for network in ("generator", "discriminator"):
        del card[network]["local_block"]
        card[network] = dict(reversed(card[network].items()))  # by name, in any order
    (copy / "model.json").write_text(json.dumps(card))
    found = load_model(str(copy), make_mesh(), 16)
    assert found.card == expected.card
    np.testing.assert_array_equal(found.sample(num=2), expected.sample(num=2))


NORM = "params/norm/scale"
DAMAGES = {
    "weights cut short": (cut_short, r"generator.safetensors are damaged or missing \("),
    "weights missing": (lambda folder: (folder / "generator.safetensors").unlink(), "are damaged or missing"),
    "an array missing": (lambda folder: rewrite_weights(folder, lambda a: a.pop(NORM)), rf"lacks arrays \({NORM}\)"),
    "an array too many": (
        lambda folder: rewrite_weights(folder, lambda a: a.update(more=np.zeros(3))),
        r"has unknown arrays \(more\)",
    ),
    "another shape": (
        lambda folder: rewrite_weights(folder, lambda a: a.update({NORM: np.zeros(3, np.float32)})),
        rf"{NORM} in .* has the shape \(3,\), not \(2,\)",
    ),
    "not finite": (
        lambda folder: rewrite_weights(folder, lambda a: a.update({NORM: np.full(2, np.nan, np.float32)})),
        f"{NORM} in .* is not finite",
    ),
    "no card": (lambda folder: (folder / "model.json").unlink(), r"is no portable model \(no model.json\)"),
    "no JSON": (lambda folder: (folder / "model.json").write_text("{"), r"model.json is damaged \("),
    "a list": (
        lambda folder: (folder / "model.json").write_text("[]"),
        r"is damaged \(Expected `object`, got `array`\)",
    ),
    "another version": (lambda folder: rewrite_card(folder, format="x, version 9"), "says 'x, version 9' where"),
    "unknown field": (
        lambda folder: rewrite_card(folder, more=1),
        r"has the field 'more', which sagan_jax [\d.]+ does not",
    ),
    "unknown field of a network": (
        lambda folder: rewrite_card(folder, generator={"resolutions": [4, 8, 16], "pooling": [2]}),
        r"has the field 'pooling', which sagan_jax [\d.]+ does not know: use the version that exported it",
    ),
    "missing field": (
        lambda folder: rewrite_card(folder, generator={"resolutions": [4, 8, 16], "attention": []}),
        r"is damaged \(Object missing required field `widths` - at `\$.generator`\)",
    ),
    "few names": (lambda folder: rewrite_card(folder, class_names=["a"]), "10 classes with 1 names"),
    "text as number": (lambda folder: rewrite_card(folder, latent_size="8"), "is damaged"),
    "text as switch": (
        lambda folder: rewrite_card(folder, inplace_relu="no"),
        r"Expected `bool`, got `str` - at `\$.inplace_relu`",
    ),
    "huge": (lambda folder: rewrite_card(folder, latent_size=10**9), "is damaged"),
    "impossible sides": (
        lambda folder: rewrite_card(folder, generator={"resolutions": [4, 9], "widths": [1, 1], "attention": []}),
        "no network has",
    ),
    "another architecture": (
        lambda folder: rewrite_card(
            folder, generator={"resolutions": [4, 8, 16], "widths": [8, 4, 2], "attention": [16]}
        ),
        "it belongs to another architecture",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_model_is_refused(copy, name, capsys):
    damage, message = DAMAGES[name]
    damage(copy)
    with pytest.raises(InputError, match=message):
        load_model(str(copy), make_mesh(), 16)
    assert sample.main([f"--model={copy}", f"--out={copy}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_model_without_its_discriminator_still_makes_images(copy):
    (copy / "discriminator.safetensors").unlink()
    assert load_model(str(copy), make_mesh(), 16, with_discriminator=True).discriminator is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workdir=x"], "--out"),
        (["--workdir=x", "--model=y", "--out=z"], "not allowed with argument"),
        (["--model=x", "--inplace-relu", "--out=z"], "--inplace-relu can only be used with --import-from"),
        (["--import-from=x", "--layout=authors", "--checkpoint=best", "--out=z"], "--checkpoint=best goes with --work"),
    ],
)
def test_flags_that_make_no_sense(flags, message, capsys):
    with pytest.raises(SystemExit):
        export.main(flags)
    assert message in capsys.readouterr().err
