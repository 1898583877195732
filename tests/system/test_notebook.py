"""The notebook, run as it is with fewer steps of narrower networks."""

import json
import os
import socket
import subprocess
import sys
import types

import pytest
from places import ROOT, WITHOUT_TENSORFLOW


def cell_with(text):
    """The source of the one cell that has this text."""
    notebook = json.loads((ROOT / "launch" / "sagan_jax_colab.ipynb").read_text())
    [source] = [source for cell in notebook["cells"] if text in (source := "".join(cell["source"]))]
    return source


def test_without_the_project_the_notebook_asks_for_its_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="put the address of its repository into REPOSITORY"):
        exec(cell_with("def run(program"), {"REPOSITORY": ""})


class Machine:
    """What the notebook's first cell finds where it runs: notes what it starts, and answers."""

    def __init__(self, driver="", device="cpu 1 cpu", packages=()):
        self.driver, self.device = driver, device
        self.packages, self.started = packages, []

    def run(self, command, **_):
        self.started.append(command)
        text = self.driver if command[0] == "nvidia-smi" else self.device
        return subprocess.CompletedProcess(command, 0 if text or "pip" in command else 1, text, "no device")

    def begin(self, monkeypatch):
        """Runs the cell; returns its pip command, or None."""
        names = [types.SimpleNamespace(metadata={"Name": name}) for name in self.packages]
        monkeypatch.setattr("importlib.metadata.distributions", lambda: names)
        monkeypatch.setattr("shutil.which", lambda name: name if self.driver and name == "nvidia-smi" else None)
        monkeypatch.setattr(subprocess, "run", self.run)
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setenv("PYTHONPATH", "")
        exec(cell_with("def run(program"), {"REPOSITORY": ""})
        return next((command for command in self.started if "pip" in command), None)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("TPU_ACCELERATOR_TYPE", raising=False)
    monkeypatch.setenv("TPU_ML_PLATFORM", "JAX")  # which JAX sets on any machine
    folder = tmp_path / "sagan_jax_project"
    for part in ("configs/digits.py", "launch/sagan_jax_colab.ipynb", "sagan_jax/__init__.py"):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        (folder / part).touch()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(("place", "runs_in"), [(".", "."), ("launch", "."), ("..", "..")])
def test_the_notebook_works_from_every_place_that_it_names(project, monkeypatch, place, runs_in):
    """Also where the package can be imported only because its folder is here: it is installed, with the constraints."""
    monkeypatch.chdir(project / place)
    pip = Machine().begin(monkeypatch)
    assert pip[-3:] == ["-c", f"{project}/constraints.txt", f"{project}[explore]"]
    assert os.path.samefile(os.getcwd(), project / runs_in)
    assert os.environ["PYTHONPATH"] == sys.path[0] == str(project)


@pytest.mark.parametrize(
    ("driver", "packages", "extras"),
    [
        ("580.65.06", (), "explore,cuda13"),
        ("550.54.15", ("sagan_jax", "gradio"), "explore,cuda12"),
        ("550.54.15", ("sagan-jax", "gradio", "jax-cuda12-plugin"), None),
        ("NVIDIA-SMI has failed", ("sagan_jax", "gradio"), None),
    ],
)
def test_the_notebook_installs_cuda_by_the_driver(project, monkeypatch, driver, packages, extras):
    pip = Machine(driver, "gpu 1 NVIDIA T4", packages).begin(monkeypatch)
    assert (pip and pip[-1]) == (extras and f"{project}[{extras}]")


@pytest.mark.parametrize(
    ("driver", "device", "message"),
    [("580.65.06", "cpu 1 cpu", "needs the extra cuda13, but JAX does not use it"), ("", "", "JAX finds no device")],
)
def test_the_notebook_says_where_the_device_is_not_used(project, monkeypatch, driver, device, message):
    with pytest.raises(RuntimeError, match=message):
        Machine(driver, device).begin(monkeypatch)


def test_a_page_that_ends_is_told(monkeypatch):
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _: popen([sys.executable, "-c", "raise SystemExit(2)"]))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    source = cell_with("PORT = 7860").replace("PORT = 7860", f"PORT = {port}")
    with pytest.raises(RuntimeError, match="sagan_jax.explore ended with status 2"):
        exec(source, {"subprocess": subprocess, "sys": sys})


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(ROOT / "launch" / "sagan_jax_colab.ipynb", as_version=4)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    narrow = '"--config.model.generator.channels=2", "--config.model.discriminator.channels=2", '
    unscored = narrow + '"--config.eval.features=", '
    changes = {"_STEPS = 2000": "_STEPS = 4", "PORT = 7860": f"PORT = {port}"}
    changes |= {'f"--config.train.steps={D': f'{unscored}f"--config.train.steps={{D'}
    changes |= {'f"--config.train.steps={O': f'{narrow}f"--config.train.steps={{O'}
    for cell in notebook.cells:
        for old, new in changes.items():
            cell.source = cell.source.replace(old, new)
    (tmp_path / "sagan_jax_project").symlink_to(ROOT)
    monkeypatch.setenv("PYTHONPATH", WITHOUT_TENSORFLOW)
    monkeypatch.setenv("PIP_DRY_RUN", "1")  # the environment of the tests stays as it is
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("TPU_ACCELERATOR_TYPE", raising=False)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache"))
    nbclient.NotebookClient(notebook, timeout=2400, resources={"metadata": {"path": str(tmp_path)}}).execute()
    texts = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("finished 4 steps" in text for text in texts)
    assert any("the page answered with status 200" in text for text in texts)
    assert any(f"open http://127.0.0.1:{port}" in text for text in texts)
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 5
    assert (tmp_path / "models" / "digits" / "generator.stablehlo").exists()
