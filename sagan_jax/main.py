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

from sagan_jax.cli import add_process_flags, program_parser, run_on_devices
from sagan_jax.config import config_names, default_config, load_config
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
    parser.epilog = f"{FIELD}FIELD=VALUE sets a field of the config; sagan_jax/config.py lists them all."
    return parser.parse_known_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Runs the experiment that the flags name; returns the exit status."""
    flags, more = parse_arguments(arguments)
    if flags.verbosity is not None:
        logging.use_absl_handler()
        logging.set_verbosity(flags.verbosity)
    return run_on_devices(lambda: train(flags, more))


def train(flags: argparse.Namespace, more: list[str]) -> None:
    """Trains, from the newest checkpoint on where there is one."""
    if not flags.config:
        set_fields(default_config(), more)  # raises where another flag is wrong, such as "--confg"
        raise InputError("is missing", field="--config", remedy=f"choose from {', '.join(config_names())}")
    try:
        config = load_config(flags.config)
    except InputError as error:
        raise error.renamed("--config") from error
    set_fields(config, more)
    from sagan_jax.runtime.processes import join_processes

    join_processes(flags.coordinator, flags.processes, flags.process, config.faults.join_seconds)
    from sagan_jax.training.loop import train_and_evaluate

    train_and_evaluate(config, flags.workdir or f"runs/{Path(flags.config).stem}")


if __name__ == "__main__":
    sys.exit(main())
