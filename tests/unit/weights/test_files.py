"""Files of weights of other kinds, and what is none."""

import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
from malicious import Malicious
from places import ROOT
from safetensors.numpy import save_file

from sagan_jax.errors import InputError
from sagan_jax.weights.files import read_weights

GOLDEN = ROOT / "tests" / "golden"


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"state_dict": {}}, [1]])
def test_a_file_without_tensors_is_refused(tmp_path, content):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, 2))
    with pytest.raises(InputError, match=r"holds no (dictionary of )?tensors"):
        read_weights(tmp_path / "w.pth")


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
