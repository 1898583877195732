"""The Inception of FID: its shape, and its features on real images where weights are at hand."""

import io
import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.make_golden import random_weight
from PIL import Image
from places import DATA, ROOT

from sagan_jax.evaluation.scores import scores_of
from sagan_jax.features.extraction import extract_features
from sagan_jax.features.extractor import inception_extractor
from sagan_jax.features.inception_weights import inception_params
from sagan_jax.metrics.frechet import frechet_distance_of_features
from sagan_jax.metrics.inception import SIDE, Inception, normalised
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.weights.files import read_weights

pytestmark = pytest.mark.usefixtures("strict_dtypes")

WEIGHTS = DATA / "features" / "inception2015_mixed7.npz"
# The first eight of the 768 features, their sum and their norm, by an independent implementation.
REFERENCE = {
    "cifar10/test.zip:airplane/aeroplane_s_000002.webp": (
        [0.03694, 0.10911, 0.18636, 0.09269, 0.01976, 0.03494, 0.06868, 0.05825],
        37.2383,
        2.42535,
    ),
    "imagenette128/train.zip:n01440764/ILSVRC2012_val_00000293.webp": (
        [0.05158, 0.01866, 0.07827, 0.11216, 0.08527, 0.16474, 0.07801, 0.04702],
        37.2045,
        2.40495,
    ),
}


def test_every_tap_has_its_size():
    image = jax.ShapeDtypeStruct((2, SIDE, SIDE, 3), np.float32)
    taps, variables = jax.eval_shape(Inception().init_with_output, jax.random.key(0), image)
    sizes = {"64": 64, "192": 192, "768": 768, "2048": 2048, "spatial": 2023, "logits": 1008}
    assert {name: tap.shape for name, tap in taps.items()} == {name: (2, size) for name, size in sizes.items()}
    assert len(variables["params"]) == 94 + 1  # convolutions and the classifier
    shallow = jax.eval_shape(Inception(deepest="768").init, jax.random.key(0), image)["params"]
    assert set(shallow) < set(variables["params"])
    assert len(shallow) == 70


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.exists(), reason="needs weights that are not part of the project")
def test_features_of_real_images_are_those_of_another_implementation():
    params = inception_params(read_weights(WEIGHTS), "768", WEIGHTS)
    for place, (first, total, norm) in REFERENCE.items():
        archive, _, name = place.partition(":")
        image = Image.open(io.BytesIO(zipfile.ZipFile(DATA / archive).read(name))).convert("RGB")
        pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))[None]
        apply = jax.jit(Inception(deepest="768").apply)
        features = apply({"params": params}, normalised(jnp.asarray(pixels)))["768"][0]
        np.testing.assert_allclose(features[:8], first, rtol=1e-3)
        assert float(features.sum()) == pytest.approx(total, rel=1e-4)
        assert float(np.linalg.norm(features)) == pytest.approx(norm, rel=1e-4)


@pytest.mark.slow
def test_an_extractor_resizes_scales_and_taps():
    """From uint8 images to features, FID's parts written out one by one; the weights are random."""
    shapes = json.loads((ROOT / "tests" / "golden" / "inception.json").read_text())["shapes"]
    params = inception_params({name: random_weight(name, shape) for name, shape in shapes.items()}, "logits", ROOT)
    extractor = inception_extractor("2048", "legacy", params, {"weights": "random"})
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 8, 8, 3), np.uint8)
    images[1] //= 2
    mesh = make_mesh(jax.devices()[:1])
    real, fake = (
        extract_features(extractor, [(part[:3], np.zeros(3)), (part[3:], np.zeros(1))], 4, "", mesh) for part in images
    )
    inputs = [(enlarged(part) - 128) / 128 for part in images]
    taps = [jax.device_get(jax.jit(Inception().apply)({"params": params}, each)) for each in inputs]
    for found, expected in zip((real, fake), taps, strict=True):
        for kind, tap in ((found.features, "2048"), (found.logits, "logits")):
            size = np.abs(expected[tap]).max()
            np.testing.assert_allclose(kind / size, expected[tap] / size, atol=1e-3)
    found = {score.name: score.value for score in scores_of(extractor, real, fake, classes=False)}
    assert found["FID"] == pytest.approx(frechet_distance_of_features(*(tap["2048"] for tap in taps)), rel=1e-3)
    assert found["sFID"] == pytest.approx(frechet_distance_of_features(*(tap["spatial"] for tap in taps)), rel=1e-3)


def enlarged(images):
    """TensorFlow 1's bilinear resize to 299, pixel by pixel along each axis."""
    for axis in (1, 2):
        position = np.arange(SIDE) * (images.shape[axis] / SIDE)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, images.shape[axis] - 1)
        part = (position - low).reshape([-1 if a == axis else 1 for a in range(4)])
        images = np.take(images, low, axis) * (1 - part) + np.take(images, high, axis) * part
    return images.astype(np.float32)
