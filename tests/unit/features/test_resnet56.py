"""ResNet-56 of CIFAR-10 against another implementation."""

import io
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image
from places import DATA

from sagan_jax.features.resnet56 import ResNet56, variables_of
from sagan_jax.weights.files import read_weights

RESNET = DATA / "features" / "resnet56_cifar10.npz"


@pytest.mark.skipif(not RESNET.exists(), reason="needs weights that are not part of the project")
def test_resnet56_has_the_features_of_another_implementation():
    variables = variables_of(read_weights(RESNET), RESNET)
    with zipfile.ZipFile(DATA / "cifar10" / "test.zip") as archive:
        image = np.asarray(Image.open(io.BytesIO(archive.read("airplane/aeroplane_s_000002.webp"))).convert("RGB"))
    outputs = jax.jit(ResNet56().apply)(variables, image[None])
    features, logits = np.asarray(outputs["features"][0]), np.asarray(outputs["logits"][0])
    expected = [0.17539, 0.77896, 0.42284, 2.51151, 0.08878, 0.15969, 0.14431, 0.14568]
    np.testing.assert_allclose(features[:8], expected, atol=2e-4)
    assert features.sum() == pytest.approx(49.3723, rel=1e-4)
    assert np.linalg.norm(features) == pytest.approx(8.91983, rel=1e-4)
    np.testing.assert_allclose(logits[:4], [17.2741, -1.4529, 6.6574, -6.8538], atol=2e-3)
