"""Trains a SAGAN.

python -m sagan_jax.main --config=configs/digits.py [--workdir=PATH] [--config.FIELD=VALUE ...]
"""

import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from sagan_jax.errors import InputError

CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment to run, a file of configs/.", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; by default runs/NAME, NAME being the config's.")


def main(argv: list[str]) -> int:
    """Runs the experiment that the flags name; returns the exit status."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # Orbax tells of every file at the default level
    from sagan_jax.training.loop import DivergedError, train_and_evaluate

    try:
        if len(argv) > 1:
            raise InputError(f"{argv[1]!r} is not a flag: write --config=FILE, --workdir=PATH or --config.FIELD=VALUE.")
        if CONFIG.value is None:
            raise InputError("--config is missing: name an experiment, such as --config=configs/digits.py.")
        workdir = WORKDIR.value or f"runs/{Path(config_flags.get_config_filename(flags.FLAGS['config'])).stem}"
        train_and_evaluate(CONFIG.value, workdir)
    except (InputError, DivergedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


if __name__ == "__main__":
    app.run(main)
