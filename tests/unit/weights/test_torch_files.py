"""PyTorch's files are read, and nothing in them is run."""

import collections
import datetime
import io
import pickle
import zipfile
from fractions import Fraction

import numpy as np
import pytest
from malicious import Malicious
from places import ROOT

from sagan_jax.errors import InputError
from sagan_jax.weights.files import read_weights
from sagan_jax.weights.torch_files import _Storage, _Tensor, _tensors_of, _TensorUnpickler

GOLDEN = ROOT / "tests" / "golden"


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
