"""What comes from strangers is data: it runs no code, and reaches no file outside its own folder."""

import contextlib
import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image
from runs import save_three, state_of
from tiny import tiny_config

from sagan_jax import prepare
from sagan_jax.data.manifest import Manifest, read_manifest
from sagan_jax.data.prepared import open_prepared
from sagan_jax.data.source import open_source
from sagan_jax.errors import InputError
from sagan_jax.runtime import processes, storage
from sagan_jax.runtime.checkpoint import Checkpoints, SavedCheckpoints
from sagan_jax.runtime.checkpoint_manifest import write_manifest


def test_a_checkpoint_from_a_stranger_is_data_only(tmp_path):
    """Nothing in a checkpoint or a workdir is unpickled or run."""
    save_three(tmp_path)
    names = {file.name for file in (tmp_path / "3").rglob("*") if file.is_file()}
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".py"))]
    trap = tmp_path / "trap"
    payload = b"cos\nsystem\n(S'touch %s'\ntR." % os.fsencode(trap)  # a pickle that runs a command
    for file in [*(tmp_path / "3").rglob("*")]:
        if file.is_file() and file.name != "manifest.json":
            file.write_bytes(payload)
    write_manifest(storage.epath.Path(tmp_path), 3)  # which they can as well
    for checkpoints in (Checkpoints(tmp_path, 3, 100), SavedCheckpoints(tmp_path)):
        assert checkpoints.verify(3) is None
        with pytest.raises(Exception, match="."):  # of Orbax and TensorStore, many kinds
            checkpoints.restore(3, like=state_of(0))
    assert not trap.exists()


ESCAPES = ("../../escaped.png", "cat/../../escaped.png", "/tmp/sagan_escaped.png", "..\\escaped.png")


@pytest.fixture
def archive(tmp_path):
    """Three images where they should be, and more under names that lead elsewhere."""
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (240, 120, 40)).save(buffer, "png")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    path = tmp_path / "deep" / "er" / "images.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("cat/1.png", "cat/2.png", "dog/1.png", *ESCAPES):
            file.writestr(name, buffer.getvalue())
    return path


def files_below(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def test_names_in_an_archive_cannot_escape(archive, tmp_path, capsys):
    before = files_below(tmp_path)
    config = tiny_config()
    config.data.source = f"folder:{archive}"
    with contextlib.suppress(InputError):  # refused or left out: either is fine
        open_source(config).load(np.arange(3))
    out = archive.parent / "out"
    prepare.main([f"--source={archive}", f"--out={out}", "--resolution=16", "--workers=1"])
    assert not os.path.exists("/tmp/sagan_escaped.png")
    assert all(out in path.parents for path in files_below(tmp_path) - before)


@pytest.mark.parametrize("name", ["../stolen.array_record", "/etc/passwd", "a/b", "..", ""])
def test_a_manifest_cannot_name_files_elsewhere(archive, tmp_path, name):
    """Else a copy from a bucket would be written there."""
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (20, 20)).save(images / "1.png")
    assert prepare.main([f"--source={images}", f"--out={tmp_path / 'out'}", "--resolution=16", "--workers=1"]) == 0
    folder = storage.epath.Path(tmp_path / "out")
    manifest = read_manifest(folder)
    shard = manifest.shards[0].__class__(name, manifest.shards[0].images, manifest.shards[0].sha256)
    Manifest(**{**manifest.__dict__, "shards": (shard,)}).write(folder)  # with a checksum that fits
    with pytest.raises(InputError, match="which is no file of this folder"):
        open_prepared(str(folder), 16)


def test_a_local_coordinator_listens_to_this_machine_only(monkeypatch):
    asked = {}
    monkeypatch.setattr(processes.jax.distributed, "initialize", lambda *given, **options: asked.update(options))
    for address in ("localhost:1234", "127.0.0.1:1234", "[::1]:1234"):
        processes.join_processes(address, 2, 0)
        assert asked["coordinator_bind_address"] == address
    processes.join_processes("head-node:1234", 2, 0)
    assert asked["coordinator_bind_address"] is None
