"""Weights of feature networks: files of other programs, and files that are damaged or want to run something."""

import collections
import datetime
import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from fractions import Fraction

import jax
import numpy as np
import pytest
from conftest import DATA, ROOT
from golden.make_golden import golden_image, random_weight
from PIL import Image
from safetensors.numpy import save_file

from sagan_jax.errors import InputError
from sagan_jax.features import inception_weights
from sagan_jax.features.inception_weights import find_weights, inception_params, torch_name
from sagan_jax.features.resnet56 import ResNet56, variables_of
from sagan_jax.metrics.inception import Inception
from sagan_jax.weights.files import read_weights
from sagan_jax.weights.torch_files import _Storage, _Tensor, _tensors_of, _TensorUnpickler

GOLDEN = ROOT / "tests" / "golden"
RESNET = DATA / "features" / "resnet56_cifar10.npz"


@pytest.mark.parametrize("name", ["tensors_zip.pth", "tensors_legacy.pth"])
def test_files_that_torch_wrote(name):
    tensors = read_weights(GOLDEN / name)
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    expected = {
        "whole": base,
        "transposed": base.T,
        "part": base[1:3, ::2],
        "half": np.array([0.5, -2], np.float16),
        "whole_numbers": np.array([[1, -(2**40)]]),
        "scalar": np.uint8(7),
        "empty": np.zeros((0, 3), np.float32),
        "parameter": np.full(2, 3.0),
    }
    assert set(tensors) == set(expected)
    for key, value in expected.items():
        assert tensors[key].dtype == value.dtype, key
        np.testing.assert_array_equal(tensors[key], value)


def torch_file(
    path, rows, *, shape=(3,), strides=(1,), offset=0, length=3, kind="FloatStorage", patched=b"", beside=(), **zipped
):
    """A file of torch 1.6 or later with one tensor "w", opcode by opcode.

    Args:
      rows: bytes of its storage.
      length: of the storage, as it is declared.
      patched: opcodes that come when the function that rebuilds tensors is on the stack.
      beside: what else is in the dictionary, by name.
      zipped: arguments for ZipFile.
    """

    def value(x):
        return pickle.dumps(x, 2)[2:-1]

    storage = b"(" + value("storage") + f"ctorch\n{kind}\n".encode() + value("0") + value("cpu") + value(length) + b"tQ"
    arguments = b"(" + storage + value(offset) + value(shape) + value(strides) + value(False) + b"}t"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n" + patched + arguments + b"R"
    others = b"".join(value(name) + value(content) + b"s" for name, content in dict(beside).items())
    with zipfile.ZipFile(path, "w", **zipped) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}" + value("w") + rebuilt + b"s" + others + b".")
        archive.writestr("archive/data/0", rows)
    return path


def test_a_tensor_written_opcode_by_opcode(tmp_path):
    numbers = np.array([1, -2.5, 3], np.float32)
    np.testing.assert_array_equal(read_weights(torch_file(tmp_path / "w.pth", numbers.tobytes()))["w"], numbers)


def test_bfloat16_is_read_as_the_float32_that_it_cuts_short(tmp_path):
    numbers = np.array([1, -2.5, 3.140625], np.float32)  # whose last 16 bits are 0
    upper = numbers.view(np.uint32) >> 16
    assert not (numbers.view(np.uint32) & 0xFFFF).any()
    found = read_weights(
        torch_file(tmp_path / "w.pth", upper.astype("<u2").tobytes(), kind="BFloat16Storage")
    )["w"]  # fmt: skip
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, numbers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (10**6, 10**6), "strides": (0, 0)}, r"shape \(1000000, 1000000\) repeats its 3 numbers"),
        ({"shape": (2**33, 2**33), "strides": (0, 0)}, "repeats its 3 numbers"),  # 0 in 64 bits
        ({"offset": 1}, "reaches beyond its numbers"),
        ({"length": 2}, "storage 0 has 12 bytes, but 8 are declared"),
        ({"compression": zipfile.ZIP_DEFLATED}, "is compressed, which torch.save does not do"),
    ],
)
def test_tensors_that_are_larger_than_their_file_are_refused(tmp_path, arguments, message):
    file = torch_file(tmp_path / "w.pth", np.zeros(3, np.float32).tobytes(), **arguments)
    with pytest.raises(InputError, match=f"w.pth are refused: .*{message}"):
        read_weights(file)


def test_a_pickle_cannot_change_the_reader(tmp_path):
    changes = pickle.dumps({"changed": True}, 2)[2:-1] + b"b"  # BUILD, which sets attributes
    numbers = np.arange(3, dtype=np.float32)
    file = torch_file(tmp_path / "w.pth", numbers.tobytes(), patched=changes)
    np.testing.assert_array_equal(read_weights(file)["w"], numbers)
    rebuild = _TensorUnpickler(io.BytesIO()).find_class("torch._utils", "_rebuild_tensor_v2")
    assert not hasattr(rebuild, "changed")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"state_dict": {}}, [1]])
def test_a_file_without_tensors_is_refused(tmp_path, content):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, 2))
    with pytest.raises(InputError, match=r"holds no (dictionary of )?tensors"):
        read_weights(tmp_path / "w.pth")


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.target}",)


def test_what_stands_beside_tensors_is_no_reason_to_refuse_them(tmp_path):
    """Scores as numpy keeps them, dates, and whole objects: nothing of them is run, and they are named when wanted."""
    trace, numbers = tmp_path / "trace", np.arange(3, dtype=np.float32)
    beside = {"best_fid": np.float64(12.5), "when": datetime.date(2020, 1, 1), "evil": Malicious(trace)}
    beside |= {"several": [np.float64(1)], "queue": collections.deque([1, 2]), "kinds": {Fraction(1, 2)}}
    weights = read_weights(torch_file(tmp_path / "w.pth", numbers.tobytes(), beside=beside))
    np.testing.assert_array_equal(weights["w"], numbers)
    assert set(weights) == {"w"}
    with pytest.raises(InputError, match=r"evil in the weights .*w.pth asks for posix.system, which tensors do not"):
        weights["evil"]
    with pytest.raises(KeyError):
        weights["nothing"]
    assert not trace.exists()


def test_a_tensor_of_an_unknown_kind_is_refused_when_it_is_wanted(tmp_path):
    file = torch_file(tmp_path / "w.pth", bytes(12), kind="QInt32Storage")
    with pytest.raises(InputError, match="w asks for torch.QInt32Storage, which tensors do not need"):
        read_weights(file)


NESTED = {  # contents of a file, and the names of the tensors that are read
    "state dict": ({"state_dict": {"a": 1}, "optimizer": {"b": 1}}, {"a"}),
    "two networks": ({"g": {"a": 1}, "d": {"a": 1}, "epoch": 3}, {"g.a", "d.a"}),
    "deeper": ({"nets": {"g": {"a": 1}}}, {"nets.g.a"}),
    "beside tensors": ({"a": 1, "optimizer": {"b": 1}}, {"a"}),
}


@pytest.mark.parametrize("name", NESTED)
def test_dictionaries_in_dictionaries(name):
    def with_tensors(content):
        if isinstance(content, dict):
            return {key: with_tensors(value) for key, value in content.items()}
        return _Tensor(_Storage("0", np.dtype("f4"), 1), 0, (1,), (1,)) if content == 1 else content

    content, names = NESTED[name]
    assert set(_tensors_of(with_tensors(content)).tensors) == names


def test_a_dictionary_that_holds_itself_ends(tmp_path):
    content = {"a": {}}
    content["a"]["b"] = content
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, 2))
    with pytest.raises(InputError, match="holds no tensors"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, zipped):
    trace, file = tmp_path / "trace", tmp_path / "weights.pth"
    evil = pickle.dumps({"weight": Malicious(trace)}, protocol=2)
    if zipped:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", evil)
    else:
        file.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + evil)
    with pytest.raises(InputError, match=r"asks for (posix|nt)\.system, which tensors do not need: do not trust"):
        read_weights(file)
    assert not trace.exists()
    pickle.loads(evil)
    assert trace.exists(), "the pickle would have done something"


@pytest.mark.parametrize("name", ["tensors_zip.pth", "tensors_legacy.pth"])
def test_damaged_files_are_named(tmp_path, name):
    whole = (GOLDEN / name).read_bytes()
    for length in (0, 20, len(whole) // 2, len(whole) - 12):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(InputError, match=name):
            read_weights(tmp_path / name)


def test_other_kinds_of_files(tmp_path):
    arrays = {"a": np.arange(3, dtype=np.float32), "b": np.ones((2, 2), np.float16)}
    np.savez(tmp_path / "w.npz", **arrays)
    save_file(arrays, tmp_path / "w.safetensors")
    for kind in ("npz", "safetensors"):
        loaded = read_weights(tmp_path / f"w.{kind}")
        assert {name: value.tolist() for name, value in loaded.items()} == {k: v.tolist() for k, v in arrays.items()}
        (tmp_path / f"broken.{kind}").write_bytes((tmp_path / f"w.{kind}").read_bytes()[:40])
        with pytest.raises(InputError, match=f"broken.{kind} are damaged"):
            read_weights(tmp_path / f"broken.{kind}")
    np.savez(tmp_path / "pickled.npz", x=np.array([Malicious(tmp_path / "trace")], dtype=object))
    with pytest.raises(InputError, match="x is damaged"):
        read_weights(tmp_path / "pickled.npz")
    assert not (tmp_path / "trace").exists()
    with pytest.raises(InputError, match="there is no file of weights"):
        read_weights(tmp_path / "none.pth")
    (tmp_path / "w.h5").touch()
    with pytest.raises(InputError, match="unknown kind"):
        read_weights(tmp_path / "w.h5")


@pytest.mark.parametrize("name", ["w", "w.tar", "w.pth.tar", "w.ckpt", "w.pkl", "w.npz"])
def test_the_kind_of_a_file_is_in_its_bytes_not_its_name(tmp_path, name):
    arrays = {"whole": np.arange(3, dtype=np.float32)}
    np.savez(tmp_path / "arrays.npz", **arrays)
    save_file(arrays, tmp_path / "arrays.safetensors")
    for file in (GOLDEN / "tensors_zip.pth", GOLDEN / "tensors_legacy.pth", *tmp_path.glob("arrays.*")):
        shutil.copy(file, tmp_path / name)
        assert "whole" in read_weights(tmp_path / name)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_file_is_not_read(tmp_path, kind):
    """A pipe would be waited for, and a device never ends."""
    path = tmp_path / "w.pth"
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "device": lambda: path.symlink_to("/dev/zero")}[kind]()
    with pytest.raises(InputError, match=r"w.pth is no file: give an .npz"):
        read_weights(path)


def test_an_archive_that_grows_without_end_is_not_read(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros(1 << 24, np.uint8))
    assert len(read_weights(tmp_path / "w.npz")["a"]) == 1 << 24  # so much always may
    monkeypatch.setattr("sagan_jax.weights.files.ALWAYS_ALLOWED", 1 << 23)
    with pytest.raises(InputError, match="would grow to 17 MB"):
        read_weights(tmp_path / "w.npz")


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
