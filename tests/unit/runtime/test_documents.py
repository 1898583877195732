"""Every JSON file that is read may hold anything, and may be no file: one sentence names it."""

import dataclasses
import json
import math
import os
from pathlib import Path

import pytest
from etils import epath

from sagan_jax.config import load_config
from sagan_jax.data.layout import folder_contents
from sagan_jax.data.manifest import Manifest, Shard, read_manifest
from sagan_jax.errors import InputError
from sagan_jax.evaluation.record import Evaluation, read_evaluation
from sagan_jax.evaluation.scores import Score
from sagan_jax.loading import PRETRAINED
from sagan_jax.preparation.plan import Plan, claim
from sagan_jax.reporting.page import report_page
from sagan_jax.runtime import documents
from sagan_jax.runtime.checkpoint_manifest import verify
from sagan_jax.runtime.documents import read_bytes, read_document
from sagan_jax.runtime.settings import check_settings
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.workdir import read_metrics
from sagan_jax.sampling.card import card_from_json
from sagan_jax.training.divergence import Rollbacks
from sagan_jax.training.trained import open_trained

CARD = json.loads((PRETRAINED / "digits" / "model.json").read_text()) | {"origin": {}, "evaluations": []}
CONFIG = load_config("digits").to_dict()
DATA = {"data": {"name": "digits", "num_images": 5, "class_names": ["a", "b"]}, "class_frequencies": [0.5, 0.5]}
SHARDS = (Shard("a.array_record", 5, "x"),)
MANIFEST = Manifest(("a", "b"), (2, 3), 16, "center", "box", "images", "x", "12", SHARDS, "x", "x", (), 0, ())
PLAN = Plan("images", "x", 5, ("a", "b"), 16, "center", "lanczos")
EVALUATION = Evaluation((Score("frechet", "FID", 1.5),), {"features": {"network": "classifier"}}, ("few",), {"a": 0.5})


def opened(folder, name, other):
    """Opens a run of which one file is in question; it has nothing saved, so this always ends in an error."""
    (folder / {"config.json": "data.json"}.get(name, "config.json")).write_text(json.dumps(other))
    open_trained(folder, "newest", make_mesh())


# Name of the file, valid contents, and what reads them, from the folder.
DOCUMENTS = {
    "card": ("model.json", CARD, lambda folder: card_from_json(read_bytes(folder / "model.json"), "model.json")),
    "config": ("config.json", CONFIG, lambda folder: opened(folder, "config.json", DATA)),
    "data": ("data.json", DATA, lambda folder: opened(folder, "data.json", CONFIG)),
    "settings of a run to continue": (
        "config.json", CONFIG, lambda folder: check_settings(folder, "config.json", CONFIG, free=(), defaults={})
    ),
    "report": ("config.json", CONFIG, report_page),
    "evaluation": (
        "1.json", json.loads(EVALUATION.encoded()), lambda folder: read_evaluation(folder / "1.json")
    ),
    "manifest": ("dataset.json", None, read_manifest),
    "plan": ("unfinished.json", json.loads(json.dumps(dataclasses.asdict(PLAN))), lambda folder: claim(folder, PLAN)),
    "rollbacks": ("rollbacks.json", [{"step": 3, "reason": "nan"}], lambda folder: Rollbacks(folder, 4)),
    "labels": (
        "dataset.json", {"labels": [["a.png", 0], ["b.png", 1]]},
        lambda folder: folder_contents("images", ["a.png", "b.png"], read_bytes(folder / "dataset.json"), None),
    ),
    "classes": (
        "classes.json", {"a": "tench", "b": "church"},
        lambda folder: folder_contents("i", ["a/1.png", "b/2.png"], None, read_bytes(folder / "classes.json")),
    ),
}  # fmt: skip
CONTENTS = {
    "empty": b"",
    "cut short": b'{"data": {"name"',
    "binary": bytes(range(256)),
    "no text": b'{"name": "\xff\xfe"}',
    "text": b'"text"',
    "a number": b"3",
    "a list of lists": b"[[]]",
    "nested": b"[" * 100_000 + b"]" * 100_000,
    "objects nested": b'{"data":' * 100_000 + b"1" + b"}" * 100_000,
    "not a number": b'{"name": NaN}',
    "infinite": b'{"name": 1e999}',
}
VALUES = [None, True, -1, 10**30, 0.5, "", "\udcff", "x" * 200_000, [], {}, [[]], {"a": {"b": {"c": {"d": 1}}}}]
DEEP = json.loads('{"data":' * 200 + "1" + "}" * 200)
NO_FILES = {
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


def contents_of(name, folder):
    if name == "manifest":
        MANIFEST.write(epath.Path(folder))
        return json.loads((folder / "dataset.json").read_text())
    return DOCUMENTS[name][1]


def read(name, folder):
    """What reading raises as text, or an empty one where it is well."""
    try:
        DOCUMENTS[name][2](epath.Path(folder))
    except InputError as error:
        text = str(error)
        assert text.isprintable()
        assert len(text) < 1100
        return text
    return ""


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_no_such_document_is_named(tmp_path, name, kind):
    file = tmp_path / DOCUMENTS[name][0]
    file.write_bytes(CONTENTS[kind])
    text = read(name, tmp_path)
    assert file.name in text, text


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_no_file_is_not_read(tmp_path, name, kind):
    file = tmp_path / DOCUMENTS[name][0]
    NO_FILES[kind](file)
    text = read(name, tmp_path)
    assert file.name in text
    assert "where a file was expected" in text


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_read_and_any_value_in_it_may_be_anything(tmp_path, name):
    file, valid = tmp_path / DOCUMENTS[name][0], contents_of(name, tmp_path)
    file.write_text(json.dumps(valid))
    assert "damaged" not in read(name, tmp_path)
    for changed in list(mutations(valid)):
        file.write_text(json.dumps(changed))
        read(name, tmp_path)


def mutations(value, values=(*VALUES, DEEP)):
    """Copies of a JSON value, each with something in it replaced by one of the values, or left out."""
    yield from values
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {other: content for other, content in value.items() if other != key}
            yield from (value | {key: changed} for changed in mutations(inner, values[::2]))
    elif isinstance(value, list) and value:
        yield from ([changed, *value[1:]] for changed in mutations(value[0], values[::2]))


def test_a_file_that_is_larger_than_it_may_be_is_not_read(tmp_path):
    (tmp_path / "a.json").write_text("[1]" + " " * 100)
    with pytest.raises(InputError, match=r"a.json is too large for what it should be: more than 50 bytes"):
        read_bytes(tmp_path / "a.json", most=50)
    assert read_document(tmp_path / "a.json", list[int], "restore it") == [1]
    with pytest.raises(FileNotFoundError):
        read_document(tmp_path / "b.json", list[int], "restore it")
    assert Path("/proc/self/status").stat().st_size == 0  # says that it is empty
    with pytest.raises(InputError, match="too large"):
        documents.read_bytes("/proc/self/status", most=10)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[]", "manifest.json is not readable"),
        (b'{"files": {"a/b": [3, 4]}}', "manifest.json is not readable"),
        (b'{"files": {"../config.json": [1, "x"]}}', "names ../config.json, which is not in it"),
        (b'{"files": {"/dev/zero": [0, "x"]}}', "names /dev/zero, which is not in it"),
        (b'{"files": {"pipe": [0, "x"]}}', "pipe is no file"),
        (b'{"files": {"zeros": [0, "x"]}}', "zeros is no file"),
        (b'{"files": {"file": [3, ""]}}', "file has 0 bytes in place of 3"),
        (b'{"files": {"file": [0, ""]}}', None),
    ],
)
def test_a_checkpoints_manifest_may_hold_anything(tmp_path, content, reason):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "file").touch()
    (tmp_path / "manifest.json").write_bytes(content)
    found = verify(epath.Path(tmp_path))
    assert found == reason or reason in found


def test_rows_of_metrics_that_are_none_are_left_out(tmp_path):
    rows = [
        '{"step": 1, "d_loss": 0.5}', '{"step": 2, "d_loss": NaN, "g_loss": -Infinity}', '{"step": 3, "d_loss": "x"}',
        "[" * 100_000, '{"a":' * 100_000, "", "3", '{"step": -1}', '{"step": "5"}', '{"step": true}', '{"step": 1e400}',
        f'{{"step": 6, "d_loss": 1{"0" * 400}}}', '{"step": 7, "d_l',
    ]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_bytes("\n".join(rows).encode() + b"\n\xff\x00\n")
    found = read_metrics(tmp_path)
    assert [row["step"] for row in found] == [1, 2, 3, 6]
    assert found[0] == {"step": 1, "d_loss": 0.5}
    assert all(math.isnan(row["d_loss"]) for row in found[1:])
    (tmp_path / "metrics.jsonl").unlink()
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(InputError, match=r"metrics.jsonl is a pipe"):
        read_metrics(tmp_path)
