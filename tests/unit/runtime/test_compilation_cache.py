"""Where compiled programs are kept."""

from pathlib import Path

import jax

from sagan_jax.runtime.compilation_cache import enable_compilation_cache


def test_compiled_programs_are_kept_where_nothing_else_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}
    try:
        enable_compilation_cache()
        assert jax.config.values["jax_compilation_cache_dir"] == before["jax_compilation_cache_dir"]
        jax.config.update("jax_compilation_cache_dir", None)
        enable_compilation_cache()
        folder = Path(jax.config.values["jax_compilation_cache_dir"])
        assert folder.parent == tmp_path / ".cache" / "sagan_jax" / "compiled"
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
