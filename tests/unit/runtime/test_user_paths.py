"""What a person names with a path: anything that cannot be one is a sentence, and nothing of theirs is overwritten."""

import socket

import numpy as np
import pytest

from sagan_jax import evaluate, explore, prepare, report, sample
from sagan_jax.errors import BAD_INPUT, InputError, os_errors_as_input_errors
from sagan_jax.evaluation.comparison import check_dimensions
from sagan_jax.features.extractor import Extractor
from sagan_jax.metrics.frechet import Statistics
from sagan_jax.runtime import user_paths
from sagan_jax.runtime.user_paths import local_path, user_path

WRONG = {
    "http://host/file.npz": "http:// cannot be read here",
    "s3://bucket/run": "s3:// cannot be read here",
    "~nosuchuser/run": "there is no home folder ~nosuchuser",
    "runs/a\nb": "runs/a.*nb. has a line break",
    "runs/a\0b": "another control character",
    "gs://bucket/run": "cannot be reached .storage.googleapis.com: no network.: is there a network",
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def unknown(*_):
        raise OSError(1, "no network")

    for name in user_paths.ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)


@pytest.mark.parametrize("path", WRONG)
def test_what_can_be_no_path_is_named(path):
    with pytest.raises(InputError, match=WRONG[path]) as raised:
        user_path(path)
    assert str(raised.value).isprintable()


PROGRAMS = {
    "sample": lambda path: sample.main([f"--model={path}"]),
    "sample of a run": lambda path: sample.main([f"--workdir={path}"]),
    "evaluate": lambda path: evaluate.main([f"--fake={path}", "--real=digits"]),
    "evaluate a run": lambda path: evaluate.main([f"--workdir={path}"]),
    "report": lambda path: report.main([f"--workdir={path}"]),
    "prepare": lambda path: prepare.main([f"--source={path}", "--out=out", "--resolution=16"]),
    "inspect": lambda path: prepare.main([f"--inspect={path}"]),
}


@pytest.mark.parametrize("path", WRONG)
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_says_so_in_a_sentence(program, path, capsys):
    assert PROGRAMS[program](path) == BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_paths_on_a_disk_and_in_a_bucket(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(local_path("~/runs")) == "/home/somebody/runs"
    assert str(user_path("./~x")) == "~x"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://localhost:1")  # not asked for at Google
    assert str(user_path("gs://bucket/run")) == "gs://bucket/run"
    with pytest.raises(InputError, match="is in a bucket: copy it to a disk first"):
        local_path("gs://bucket/run")


def test_what_libraries_of_buckets_raise_is_a_sentence():
    failure = type("HttpError", (Exception,), {"__module__": "gcsfs.retry"})
    with pytest.raises(InputError, match="a bucket cannot be used .HttpError: forbidden"), os_errors_as_input_errors():
        raise failure("forbidden")
    with pytest.raises(KeyError), os_errors_as_input_errors():
        raise KeyError("ours")


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "page", "folder.html"])
def test_a_report_overwrites_no_file_of_a_run(tiny_run, tmp_path, capsys, name):
    (tmp_path / "folder.html").mkdir()
    out = tmp_path / name
    if name != "folder.html":
        out.write_text("mine")
    assert report.main([f"--workdir={tiny_run}", f"--out={out}"]) == BAD_INPUT
    assert "is no page: end its name with .html" in capsys.readouterr().err
    assert out.is_dir() or out.read_text() == "mine"


def test_an_evaluation_overwrites_evaluations_only(tiny_run, capsys):
    config = (tiny_run / "config.json").read_bytes()
    flags = [
        "--features=classifier",
        f"--out={tiny_run / 'config.json'}",
        f"--fake={tiny_run / 'samples'}",
        "--real=digits",
    ]
    assert evaluate.main(flags) == BAD_INPUT
    assert (tiny_run / "config.json").read_bytes() == config


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", socket.gethostname())]
)
def test_the_address_of_the_page_exists(host, shown):
    assert explore.shown_host(host) == shown


@pytest.mark.parametrize("flag", ["--host=", "--host= "])
def test_an_empty_host_is_refused(capsys, flag):
    with pytest.raises(SystemExit):
        explore.parse_arguments([flag])
    assert "--host must not be empty" in capsys.readouterr().err


def test_statistics_of_other_features_are_refused_before_any_are_computed():
    features = Extractor("small", {}, {}, lambda variables, images: {"features": images[:, 0, :4, 0].astype(float)})
    check_dimensions(features, Statistics(np.zeros(4), np.eye(4)))
    with pytest.raises(InputError, match="the real statistics have 3 dimensions, but small gives 4"):
        check_dimensions(features, Statistics(np.zeros(3), np.eye(3)))


def test_a_single_image_is_refused_before_the_network_is_opened(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "extractor_for", lambda *_: pytest.fail("opened"))
    for name, count in (("one", 1), ("two", 2)):
        np.savez(tmp_path / f"{name}.npz", images=np.zeros((count, 16, 16, 3), np.uint8))
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    for flags in ([f"--fake={one}", f"--real={two}"], [f"--fake={two}", f"--real={one}"]):
        assert evaluate.main(flags) == BAD_INPUT
        assert "a single" in capsys.readouterr().err
