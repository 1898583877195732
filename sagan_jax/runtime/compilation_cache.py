"""Keeps compiled programs on disk, so that the same run starts faster the next time."""

import hashlib
import platform
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

MIN_COMPILE_SECONDS = 1.0  # programs that compile faster are not kept


def enable_compilation_cache() -> None:
    """Keeps compiled programs in ~/.cache/sagan_jax/compiled, unless JAX_COMPILATION_CACHE_DIR names another folder.

    For the whole process, and also where it has compiled something before.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        folder = Path("~/.cache/sagan_jax/compiled").expanduser() / _processor()
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SECONDS)
        compilation_cache.reset_cache()  # JAX decides with the first program whether there is a cache


def _processor() -> str:
    """Returns a name for the instruction sets of this processor: code for one may not run on others."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    features = {line for line in lines if line.partition(":")[0].strip() in ("model name", "flags", "Features")}
    name = "".join(sorted(features)) or platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
