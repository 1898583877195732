"""Weights of the FID's Inception: found, checked and downloaded."""

import hashlib
import json

import jax
import numpy as np
import pytest
from golden.make_golden import golden_image, random_weight
from places import ROOT

from sagan_jax.errors import InputError
from sagan_jax.features import inception_weights
from sagan_jax.features.inception_weights import find_weights, inception_params, torch_name
from sagan_jax.features.resnet56 import variables_of
from sagan_jax.metrics.inception import Inception

GOLDEN = ROOT / "tests" / "golden"


def test_every_layer_has_its_counterpart_in_the_port():
    shapes = json.loads((GOLDEN / "inception.json").read_text())["shapes"]
    image = jax.ShapeDtypeStruct((1, 299, 299, 3), np.float32)
    layers = set(jax.eval_shape(Inception().init, jax.random.key(0), image)["params"]) - {"softmax"}
    names = {torch_name(layer) for layer in layers}
    assert names == {name.removesuffix(".conv.weight") for name in shapes if name.endswith(".conv.weight")}
    assert len(names) == len(layers) == 94


@pytest.mark.slow
def test_the_whole_network_agrees_with_the_port_on_its_weights():
    """Features by pytorch-fid for random weights of all layers, see golden/README.md."""
    golden = json.loads((GOLDEN / "inception.json").read_text())
    weights = {name: random_weight(name, shape) for name, shape in golden["shapes"].items()}
    params = inception_params(weights, "logits", GOLDEN)
    taps = jax.jit(Inception().apply)({"params": params}, golden_image()[None])
    assert set(taps) == set(golden["features"])
    for name, expected in golden["features"].items():
        tap = np.asarray(taps[name][0], np.float64)
        assert np.linalg.norm(tap) == pytest.approx(expected["norm"], rel=1e-4), name
        close = 1e-4 * expected["norm"] / np.sqrt(len(tap))
        np.testing.assert_allclose(tap[:: expected["every"]], expected["values"], rtol=1e-3, atol=close, err_msg=name)


def test_weights_that_lack_something_are_refused(tmp_path):
    golden = json.loads((GOLDEN / "inception.json").read_text())
    weights = {name: random_weight(name, shape) for name, shape in golden["shapes"].items() if "_1a" in name}
    file = tmp_path / "x.pth"
    with pytest.raises(InputError, match=r"x\.pth lack Conv2d_2a_3x3\.conv\.weight"):
        inception_params(weights, "768", file)
    weights["Conv2d_1a_3x3.conv.weight"][0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="conv in the weights .* is damaged: .* not finite"):
        inception_params(weights, "768", file)
    with pytest.raises(InputError, match="lack bn1.running_mean"):
        variables_of({}, file)


def test_without_a_network_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(inception_weights, "URL", "http://127.0.0.1:9/weights.pth")
    with pytest.raises(InputError, match=r"cannot be downloaded .*--weights=FILE"):
        find_weights("")
    page = tmp_path / "page"
    page.write_text("<html>")
    monkeypatch.setattr(inception_weights, "URL", page.as_uri())
    with pytest.raises(InputError, match="has the SHA-256"):
        find_weights("")
    assert not list((tmp_path / "sagan_jax").glob("*"))


def test_weights_are_downloaded_once_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server = tmp_path / "weights.pth"
    server.write_bytes(b"some weights")
    monkeypatch.setattr(inception_weights, "URL", server.as_uri())
    monkeypatch.setattr(inception_weights, "SHA256", hashlib.sha256(b"some weights").hexdigest())
    file = find_weights("")
    assert file == tmp_path / "cache" / "sagan_jax" / "weights.pth"
    assert file.read_bytes() == b"some weights"
    server.unlink()
    assert find_weights("") == file
    assert find_weights(str(server)) == server  # what is named comes before what is kept
