"""Advice on what to install: commands that work where they are shown, for extras that exist."""

import configparser
import re
import subprocess
import sys

import pytest
from places import ROOT

from sagan_jax import extras

NAMED = re.compile(r"install_extra\('(\w+)'\)|\.\[([\w,]+)\]")


def declared():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    return set(settings["options.extras_require"])


def advising_files():
    suffixes = {".py", ".md", ".sh", ".sbatch", ".ipynb", ""}
    files = [path for folder in ("sagan_jax", "docs", "launch", "bench") for path in (ROOT / folder).rglob("*")]
    files = [path for path in files if path.is_file() and path.suffix in suffixes]
    return [*files, ROOT / "README.md", ROOT / "Makefile"]


def test_advice_names_extras_that_exist_and_no_package_of_an_index():
    named = set()
    for path in advising_files():
        text = path.read_text()
        assert "sagan_jax[" not in text.replace("path}/sagan_jax[", ""), path
        named |= {name for found in NAMED.findall(text) for names in found for name in names.split(",") if name}
    assert {"tfds", "explore", "gcs", "cuda"} <= named <= declared()


@pytest.mark.parametrize("folder", ["the project", "its parent", "elsewhere"])
def test_the_command_installs_from_the_project_for_the_python_that_runs(folder, monkeypatch, tmp_path):
    project, python = tmp_path / "a project", tmp_path / "a project" / ".venv" / "bin" / "python"
    project.mkdir()
    (project / "setup.cfg").touch()
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(extras, "PROJECT", project)
    monkeypatch.setattr(sys, "executable", str(python))
    where, command = {
        "the project": (project, ".venv/bin/python -m pip install -e '.[tfds]'"),
        "its parent": (tmp_path, "'a project/.venv/bin/python' -m pip install -e 'a project[tfds]'"),
        "elsewhere": (tmp_path / "other", f"'{python}' -m pip install -e '{project}[tfds]'"),
    }[folder]
    monkeypatch.chdir(where)
    assert extras.install_extra("tfds") == command
    (project / "setup.cfg").unlink()
    assert extras.install_extra("tfds").endswith("-m pip install -e '.[tfds]' in the project's folder")


@pytest.mark.parametrize(
    ("given", "stamp"), [("", "installed"), ("cuda", "installed-cuda"), ("cuda12,gcs", "-cuda12-gcs")]
)
def test_make_installs_the_extras_that_are_asked_for(given, stamp, tmp_path):
    command = ["make", "-n", "train", f"VENV={tmp_path}/venv", f"EXTRAS={given}"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = ",".join(["tfds,dev", *filter(None, [given])])
    assert f"pip install -q -c constraints.txt -e '.[{wanted}]'" in shown
    assert re.search(rf"touch \S+{stamp}$", shown, re.MULTILINE)
