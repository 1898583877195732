"""The package as it is installed from a wheel."""

import shutil
import subprocess
import sys
import zipfile

import pytest
from places import ROOT

from sagan_jax.config import config_names


@pytest.mark.slow
def test_an_installed_wheel_knows_the_configs(tmp_path):
    for name in ("sagan_jax", "configs"):
        shutil.copytree(ROOT / name, tmp_path / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "source")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", f"--wheel-dir={tmp_path}", "."]
    built = subprocess.run(command, cwd=tmp_path / "source", capture_output=True, text=True)
    if "setuptools" in built.stderr and "No matching distribution" in built.stderr:
        pytest.skip("setuptools cannot be fetched")
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    modules = {path.relative_to(ROOT).with_suffix("").as_posix() for path in (ROOT / "sagan_jax").rglob("*.py")}
    found = (tmp_path / "installed").rglob("*.py")
    installed = {path.relative_to(tmp_path / "installed").with_suffix("").as_posix() for path in found}
    assert installed == modules | {f"sagan_jax/configs/{name}" for name in config_names()}
    program = "from sagan_jax.config import config_names, load_config; [load_config(name) for name in config_names()]"
    command = [sys.executable, "-c", f"{program}; print(len(config_names()))"]
    environment = {"PYTHONPATH": str(tmp_path / "installed")}
    shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert int(shown.stdout) == len(config_names())
