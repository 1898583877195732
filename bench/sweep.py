"""How a step's time and memory grow with one number: batch size, devices, attention, precision, ...

python bench/sweep.py --config=digits --vary=train.batch_size=16,32,64,128 [--set=FIELD=VALUE ...] [--json=FILE]
python bench/sweep.py --config=digits --vary=devices=1,2,4,8
python bench/sweep.py --config=imagenet128 --vary='model.generator.attention=(),(32,),(64,)'

Each value is measured by train_step.py in a process of its own; devices on a CPU are virtual.
"""

import argparse
import ast
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SHOWN = ("ms_median", "real_images_per_s", "gflop_per_image", "mfu", "compiled_temporary_gib", "compile_s_cold")


def main() -> None:
    """Measures each value and prints a row for it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="imagenet128", help="name of a file of configs/")
    parser.add_argument("--vary", required=True, metavar="FIELD=VALUE,VALUE,...")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="the same in all rows")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each of the five rounds, about")
    parser.add_argument("--json", type=Path, help="file that a line of JSON per row is added to")
    flags = parser.parse_args()
    field, _, values = flags.vary.partition("=")
    print(f"{field:<28}" + "".join(f"{name:>24}" for name in SHOWN), flush=True)
    for value in parsed(values):
        figures = measured(flags.config, flags.set, field, value, flags.seconds)
        print(f"{value!s:<28}" + "".join(f"{figures[name]:>24,.4g}" for name in SHOWN), flush=True)
        if flags.json:
            with flags.json.open("a") as file:
                file.write(json.dumps(figures | {"varied": field, "value": value}) + "\n")


def parsed(values: str) -> tuple[Any, ...]:
    """Returns (1, 2) for "1,2", for example; words stay as they are."""
    try:
        found = ast.literal_eval(values)
    except (ValueError, SyntaxError):
        return tuple(values.split(","))
    return found if isinstance(found, tuple) else (found,)


def measured(config: str, changes: list[str], field: str, value: Any, seconds: float) -> dict[str, Any]:
    """Returns the figures of train_step.py."""
    command = [sys.executable, str(Path(__file__).with_name("train_step.py")), f"--config={config}"]
    command += [f"--seconds={seconds}", *(f"--set={change}" for change in changes)]
    command.append(f"--devices={value}" if field == "devices" else f"--set={field}={value}")
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([*command, f"--json={file.name}"], check=True, stdout=subprocess.DEVNULL)
        return json.loads(file.read())


if __name__ == "__main__":
    main()
