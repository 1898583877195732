"""JAX's switches that change results: the same for every program, whatever the environment says; and its devices."""

import logging
import os
from typing import Any

import jax

from sagan_jax.errors import InputError
from sagan_jax.extras import install_command
from sagan_jax.runtime.timing import warn

PINNED: dict[str, Any] = {  # by which the same seed gives the same numbers everywhere
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_high_dynamic_range_gumbel": False,
    "jax_numpy_dtype_promotion": "standard",
}
EXTRAS = {"cuda": "cuda13", "gpu": "cuda13", "tpu": "tpu"}  # of the package jax, by JAX's names of platforms
RECORDED = (*PINNED, "jax_default_matmul_precision")  # a person may choose the last, for a whole run
ONCE_RECORDED = ("jax_numpy_rank_promotion",)  # in earlier runs, though results do not depend on it: it can only raise


def pin_settings() -> None:
    """Gives the settings in `PINNED` their values, for a whole program; says so where the environment has others."""
    for name, value in _changed().items():
        warn(f"{name.upper()}={os.environ.get(name.upper(), '')} has no effect here: it would change the results")
        jax.config.update(name, value)


def check_settings_of_jax() -> None:
    """Raises InputError where a Python program has set one of `PINNED` to something else."""
    for name, value in _changed().items():
        raise InputError(
            "changes the results",
            field=f"jax.config.{name}",
            value=_setting(name),
            remedy=f"set it to {value!r}, or unset {name.upper()} in the environment",
        )


def recorded_settings() -> dict[str, Any]:
    """Returns the values of the settings in `RECORDED`, as JSON values."""
    return {name: _setting(name) for name in RECORDED if name in jax.config.values}


def usual_settings() -> dict[str, Any]:
    """Returns those that a run had whose version did not record them."""
    return PINNED | {"jax_default_matmul_precision": None}


def _changed() -> dict[str, Any]:
    """Returns those of `PINNED` that this version of JAX has, and that have another value."""
    return {name: value for name, value in PINNED.items() if name in jax.config.values and _setting(name) != value}


def _setting(name: str) -> Any:
    value = getattr(jax.config, name)  # that of this thread
    return getattr(value, "value", value)


def check_devices() -> None:
    """Raises InputError where JAX finds no device of the platforms that JAX_PLATFORMS asks for."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # JAX has no kind of its own for this
        wanted = _setting("jax_platforms")
        if not wanted:
            raise
        reason = str(error).partition("\n")[0] or "there is no such device, or JAX is installed without it"
        install = "".join(f"{install_jax(name)}, or " for name in EXTRAS if name in wanted)
        raise InputError(
            f"cannot be used ({reason})", field="JAX_PLATFORMS", value=wanted, remedy=f"{install}unset JAX_PLATFORMS"
        ) from error


def install_jax(platform: str) -> str:
    """Returns the command that installs JAX of this version for one of the platforms in `EXTRAS`."""
    return install_command(f"'jax[{EXTRAS[platform]}]=={jax.__version__}'")


def hint_at_unused_accelerators() -> None:
    """Has JAX's warning that a GPU or TPU is there, but not used, come as one line with the command that helps."""
    logging.getLogger("jax._src.xla_bridge").addFilter(_hint)


def _hint(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    if "may be present on this machine" not in text:
        return True
    name, platform = ("a TPU", "tpu") if "TPU" in text else ("an NVIDIA GPU", "cuda")
    older = "" if platform == "tpu" else " (jax[cuda12] for a driver before 580)"
    warn(f"this machine has {name}, which is not used: {install_jax(platform)}{older}")
    return False
