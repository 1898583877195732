"""How much longer the step takes that starts a save.

python bench/checkpoint_stall.py [--config=imagenet128] [--set=train.batch_size=8 ...] [--saves=3] [--json=FILE]

Prints medians of: a step, the same with a save begun before it, the part of the save that waits, and the time until the
checkpoint with its manifest is on the disk while training goes on.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import jax
from experiment import open_experiment

from sagan_jax.runtime.checkpoint import Checkpoints


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="imagenet128")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--saves", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file that the line of JSON is added to")
    flags = parser.parse_args()
    experiment = open_experiment(flags.config, flags.changes)
    take_steps, inputs, key = experiment.take_steps(), experiment.random_inputs(), jax.random.key(0)
    state = experiment.fresh_state()
    size = sum(x.nbytes for x in jax.tree.leaves(state))
    for _ in range(2):  # compiles, and warms up
        state, _ = jax.block_until_ready(take_steps(state, None, inputs, key))

    usual, with_save, waits, until_saved = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(folder, keep=1, keep_every_steps=10**9)
        for number in range(flags.saves):
            for _ in range(2):
                start = time.perf_counter()
                state, _ = jax.block_until_ready(take_steps(state, None, inputs, key))
                usual.append(time.perf_counter() - start)
            start = time.perf_counter()
            checkpoints.save(number, state)
            waits.append(time.perf_counter() - start)
            state, _ = jax.block_until_ready(take_steps(state, None, inputs, key))
            with_save.append(time.perf_counter() - start)
            while not (Path(folder) / str(number)).exists():
                state, _ = jax.block_until_ready(take_steps(state, None, inputs, key))
            until_saved.append(time.perf_counter() - start)
            checkpoints.look_for_failure(wait=True)
        checkpoints.close()
    medians = [statistics.median(seconds) for seconds in (usual, with_save, waits, until_saved)]
    report = dict(zip(("step_s", "step_with_save_s", "wait_s", "until_saved_s"), medians, strict=True))
    report |= {"ratio": medians[1] / medians[0], "state_gb": size / 1e9, "config": flags.config, "set": flags.changes}
    report |= {"device": jax.devices()[0].device_kind, "devices": jax.device_count(), "jax": jax.__version__}
    print(line := json.dumps(report))
    if flags.json:
        with flags.json.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
