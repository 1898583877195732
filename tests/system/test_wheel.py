"""The package as it is installed from a wheel, in an environment of its own and used from another folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest
from places import NO_TENSORFLOW, ROOT

from sagan_jax.config import config_names

pytestmark = pytest.mark.slow
OTHERS = {  # that are no modules
    *("sagan_jax/py.typed", "sagan_jax/exploring/look.css", "sagan_jax/exploring/image.js"),
    "sagan_jax/pretrained/digits/generator.safetensors",
}
SMALL = (
    *("--config.model.generator.channels=2", "--config.model.discriminator.channels=2", "--config.train.steps=2"),
    *("--config.train.batch_size=16", "--config.sampling.batch_size=16", "--config.eval.features="),
)


def run(*command, folder):
    environment = os.environ | {"PYTHONPATH": str(NO_TENSORFLOW)}
    pipes = {"capture_output": True, "text": True}
    return subprocess.run([*map(str, command)], cwd=folder, env=environment, check=True, **pipes).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("sagan_jax", "configs"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", f"--wheel-dir={folder}", "."]
    built = subprocess.run(command, cwd=folder / "source", capture_output=True, text=True)
    if "setuptools" in built.stderr and "No matching distribution" in built.stderr:
        pytest.skip("setuptools cannot be fetched")
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of an environment with the wheel and the packages, but not the project, of this one."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder)
    python = folder / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        wheel,
        folder=folder,
    )
    purelib = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip()
    with open(os.path.join(purelib, "others.pth"), "w") as file:
        file.write(sysconfig.get_path("purelib") + "\n")
    found = run(python, "-c", "import sagan_jax; print(sagan_jax.__file__)", folder=folder)
    assert found.startswith(purelib)
    return python


def test_a_wheel_holds_all_of_the_package(wheel):
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sagan_jax").rglob("*.py")}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if name.endswith(".py")} == modules | {
        f"sagan_jax/configs/{name}.py" for name in config_names()
    }
    assert names >= OTHERS
    assert any(name.endswith("/LICENSE") for name in names)


def test_installed_programs_sample_and_train_from_another_folder(python, tmp_path):
    run(python, "-m", "sagan_jax.sample", "--classes=3", "--num=2", "--out=samples", folder=tmp_path)
    assert list((tmp_path / "samples").rglob("*.png"))
    said = run(python, "-m", "sagan_jax.main", "--config=digits", "--workdir=run", *SMALL, folder=tmp_path)
    assert "finished 2 steps" in said
    assert (tmp_path / "run" / "samples" / "00000002.png").exists()
