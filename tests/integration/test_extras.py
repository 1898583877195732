"""What is installed by make, and advised by programs; and what a release says of itself."""

import configparser
import os
import re
import subprocess
import sys

import pytest
import yaml
from places import ROOT

import sagan_jax
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


MADE = {  # what is asked for, and the package that is installed for it
    "train": "-e .",
    "train EXTRAS=cuda": "-e '.[cuda]'",
    "train EXTRAS=cuda12,gcs": "-e '.[cuda12,gcs]'",
    "explore": "-e '.[explore]'",
    "test-fast": "-e '.[dev]'",
    "lint CONSTRAINTS=": "-e '.[dev]'",
}


def shown_by_make(asked, folder, **environment):
    command = ["make", "-n", f"VENV={folder}/venv", *asked.split()]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("asked", MADE)
def test_make_installs_what_a_command_needs(asked, tmp_path):
    constraints = "" if "CONSTRAINTS=" in asked else "-c constraints.txt "
    shown = shown_by_make(asked, tmp_path)
    installed = [line for line in shown.splitlines() if " install " in line]
    assert len(installed) == 1
    assert " ".join(installed[0].split()).endswith(f"install -q {constraints}{MADE[asked]}") or "uv pip" in installed[0]


def test_make_uses_uv_where_it_is_installed(tmp_path):
    (tmp_path / "uv").write_text("#!/bin/sh\n")
    (tmp_path / "uv").chmod(0o755)
    shown = shown_by_make("train", tmp_path, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert f"uv pip install --python {tmp_path}/venv/bin/python -q -c constraints.txt -e ." in shown


def test_make_installs_once(tmp_path):
    """Also for a choice of extras, whose names are those of the stamp."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    for name in ("bin/python", "installed", "installed-cuda12,gcs"):
        (venv / name).touch()
    for asked in ("train", "train EXTRAS=cuda12,gcs"):
        assert " install " not in shown_by_make(asked, tmp_path)
    assert " install " in shown_by_make("train EXTRAS=tpu", tmp_path)


def test_the_workflow_calls_what_make_has():
    """And every version of Python that the package names is tested."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    targets = {match for command in commands for match in re.findall(r"^make ([\w-]+)", command)}
    assert targets == {"lint", "test"}
    for target in targets:
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    tested = {case["python"] for case in workflow["jobs"]["test"]["strategy"]["matrix"]["include"]}
    assert tested == set(re.findall(r"Python :: (3\.\d+)", (ROOT / "setup.cfg").read_text()))


def test_the_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == sagan_jax.__version__
    newest = re.search(r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest.groups() == (citation["version"], str(citation["date-released"]))
