"""Trains a SAGAN.

python -m sagan_jax.main --config=NAME|FILE [--workdir=PATH] [--config.FIELD=VALUE ...]
    [--coordinator=HOST:PORT --processes=N --process=I]

The same command again continues the run. The last three are for several processes where no TPU pod, Slurm, Open MPI or
Kubernetes says who they are. docs/runbook.md explains the exit statuses.
"""

import argparse
import sys
from pathlib import Path

from absl import logging
from ml_collections import ConfigDict

from sagan_jax import __version__
from sagan_jax.cli import add_process_flags, program_parser, run, run_on_devices, start
from sagan_jax.config import config_names, default_config, flat_fields, load_config
from sagan_jax.errors import InputError
from sagan_jax.overrides import FIELD, set_fields


def parse_arguments(arguments: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Returns the flags, and the arguments left over, which are for `set_fields`."""
    parser = program_parser("train", __doc__)
    parser.add_argument(
        "--config",
        metavar="NAME|FILE",
        help=f"experiment: {', '.join(config_names())}; or a file like those in the project's configs/",
    )
    parser.add_argument("--workdir", metavar="PATH", help="folder of the run (runs/NAME, NAME being the config's)")
    parser.add_argument("--verbosity", type=int, metavar="N", help="0: show all that libraries log, Orbax included")
    add_process_flags(parser)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    fields = [f"  {FIELD}{field}={value!r}" for field, value in flat_fields(default_config()).items()]
    about = "fields of every config, here with their defaults; sagan_jax/config.py says what they mean:"
    parser.epilog = "\n".join([about, *fields])
    return parser.parse_known_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Runs the experiment that the flags name; returns the exit status."""
    flags, more = parse_arguments(arguments)
    if flags.verbosity is not None:
        logging.use_absl_handler()
        logging.set_verbosity(flags.verbosity)
    chosen: list[ConfigDict] = []
    if status := run(lambda: chosen.append(chosen_config(flags, more))):
        return status
    flags.workdir = flags.workdir or f"runs/{Path(flags.config).stem}"
    if not flags.process:  # of several only the first prints
        # What follows loads JAX, which takes seconds.
        print(f"sagan_jax {__version__}: {flags.config} in {flags.workdir}", flush=True)
    return run_on_devices(lambda: train(flags, chosen[0]))


def chosen_config(flags: argparse.Namespace, more: list[str]) -> ConfigDict:
    """Returns the config that the flags name, with the fields that they set."""
    if not flags.config:
        set_fields(default_config(), more)  # raises where another flag is wrong, such as "--confg"
        raise InputError("is missing", field="--config", remedy=f"choose from {', '.join(config_names())}")
    try:
        config = load_config(flags.config)
    except InputError as error:
        raise error.renamed("--config") from error
    set_fields(config, more)
    return config


def train(flags: argparse.Namespace, config: ConfigDict) -> None:
    """Trains, from the newest checkpoint on where there is one."""
    from sagan_jax.runtime.processes import join_processes

    join_processes(flags.coordinator, flags.processes, flags.process, config.faults.join_seconds)
    for field, value in flat_fields(config).items():
        print(f"config.{field} = {value!r}")
    sys.stdout.flush()
    from sagan_jax.training.loop import train_and_evaluate

    train_and_evaluate(config, flags.workdir)


if __name__ == "__main__":
    start(main)
