"""The notebook, run as it is with fewer steps."""

import json
import socket
import subprocess
import sys

import pytest
from conftest import ROOT


def cell_with(text):
    """The source of the one cell that has this text."""
    notebook = json.loads((ROOT / "launch" / "sagan_jax_colab.ipynb").read_text())
    [source] = [source for cell in notebook["cells"] if text in (source := "".join(cell["source"]))]
    return source


def test_without_the_project_the_notebook_asks_for_its_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="put the address of its repository into REPOSITORY"):
        exec(cell_with("def run(program"), {"REPOSITORY": ""})


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
    changes = {"_STEPS = 2000": "_STEPS = 4", "PORT = 7860": f"PORT = {port}"}
    for cell in notebook.cells:
        for old, new in changes.items():
            cell.source = cell.source.replace(old, new)
    (tmp_path / "sagan_jax_project").symlink_to(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache"))
    nbclient.NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    texts = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("finished 4 steps" in text for text in texts)
    assert any("the page answered with status 200" in text for text in texts)
    assert any(f"open http://127.0.0.1:{port}" in text for text in texts)
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 5
    assert (tmp_path / "models" / "digits" / "generator.stablehlo").exists()
