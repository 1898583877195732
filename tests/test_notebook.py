"""The notebook, run as it is with fewer steps."""

import socket

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow


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
    assert any(f"open http://127.0.0.1:{port}" in text for text in texts)
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 5
    assert (tmp_path / "models" / "digits" / "generator.stablehlo").exists()
