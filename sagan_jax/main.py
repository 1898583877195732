"""Trains a SAGAN.

python -m sagan_jax.main --config=configs/digits.py [--workdir=PATH] [--config.FIELD=VALUE ...]
    [--coordinator=HOST:PORT --processes=N --process=I]

The same command again continues the run. The last three are for several processes where no TPU pod, Slurm, Open MPI or
Kubernetes says who they are. docs/runbook.md explains the exit statuses.
"""

import difflib
import functools
import os
import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from sagan_jax.config import default_config, flat_fields
from sagan_jax.errors import InputError, exit_status
from sagan_jax.renamed import CONFIG_FIELDS

CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment to run, a file of configs/.", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; by default runs/NAME, NAME being the config's.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of the first of several processes.")
PROCESSES = flags.DEFINE_integer("processes", None, "How many processes there are.")
PROCESS = flags.DEFINE_integer("process", None, "Which of them this one is, from 0 on.")


def main(argv: list[str]) -> int:
    """Runs the experiment that the flags name; returns the exit status."""
    if not flags.FLAGS["verbosity"].present:
        _quiet_libraries()
    from sagan_jax.runtime.processes import run_program

    return run_program(lambda: exit_status(functools.partial(_train, argv)))


def _train(argv: list[str]) -> None:
    from sagan_jax.runtime.compilation_cache import enable_compilation_cache
    from sagan_jax.runtime.processes import join_processes

    enable_compilation_cache()
    if len(argv) > 1:
        raise InputError(f"{argv[1]!r} is not a flag: write --config=FILE, --workdir=PATH or --config.FIELD=VALUE.")
    config = load_config()
    join_processes(COORDINATOR.value, PROCESSES.value, PROCESS.value, config.faults.join_seconds)
    from sagan_jax.training.loop import train_and_evaluate

    name = Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem
    train_and_evaluate(config, WORKDIR.value or f"runs/{name}")


def _quiet_libraries() -> None:
    # Orbax tells of every file, and of every thread in which something fails; what matters arrives as an exception.
    logging.set_verbosity(logging.FATAL)
    sys.unraisablehook = lambda _: None  # of TensorStore's threads, when a save was given up
    # TensorFlow only reads and writes files here; it would tell of instruction sets and oneDNN.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def load_config() -> ConfigDict:
    """The config that --config names, with the fields that --config.FIELD sets."""
    config = CONFIG.value
    if config is None:
        raise InputError(f"--config is missing: {_configs_present()}.")
    try:
        config.lock()  # a file that could not be loaded shows at the first access
    except OSError as error:
        raise InputError(f"--config names a file that cannot be read: {_configs_present()}.") from error
    return config


def _configs_present() -> str:
    names = ", ".join(sorted(str(path) for path in Path("configs").glob("*.py")))
    return f"choose one of {names}" if names else "give the path of a file like those in the project's configs/"


def parse_flags(argv: list[str]) -> list[str]:
    """The arguments that are no flags; exits with status 2 and one sentence where a flag is wrong."""
    try:
        return flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, SyntaxError) as error:
        print(f"error: {unknown_field(argv) or error}", file=sys.stderr)
        sys.exit(2)


def unknown_field(argv: list[str]) -> str | None:
    """What to say of the first --config.FIELD that no config has."""
    known = list(flat_fields(default_config()))
    for argument in argv:
        field = argument.partition("=")[0].lstrip("-").removeprefix("config.")
        if argument.lstrip("-").startswith("config.") and field not in known:
            if field in CONFIG_FIELDS:
                return f"--config.{field} has another name: write --config.{CONFIG_FIELDS[field]}."
            near = difflib.get_close_matches(field, known, n=1, cutoff=0.4)
            hint = f"did you mean --config.{near[0]}?" if near else "sagan_jax/config.py lists all fields."
            return f"--config.{field} is unknown: {hint}"
    return None


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
