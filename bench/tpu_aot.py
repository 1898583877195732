"""What the TPU's own compiler makes of the training step, on a machine without a TPU.

python bench/tpu_aot.py [--config=imagenet128] [--slices=v5e:2x4,v4:2x2x4] [--set=FIELD=VALUE ...] [--batch=256,1024]
    [--out=FILE.json]

Compiles the step of the training loop, with its shardings and its donated state, for each slice and global batch, and
prints memory, work and the communication between chips. Nothing runs, so compiling is all that is timed. Needs
libtpu: `make libtpu`, or `pip install libtpu`.
"""

import argparse
import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from experiment import Experiment, changed_config
from hbm_traffic import hbm_traffic
from jax.experimental import topologies

from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.training.step_config import TrainStepConfig

Figures = dict[str, Any]

SLICES = "v5e:2x4,v5e:8x8,v4:2x2x4,v5p:2x2x4"
# `make libtpu` puts it beside the environment's other packages: among them, JAX would look for a TPU at every start.
FOLDER = Path(sys.prefix) / "libtpu"
# Without these libtpu queries servers that exist only beside a TPU, reports that it found none, and writes logs.
SETTINGS = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_LOG_DIR": "disabled",
}
HBM_GIB = {"v5e": 16, "v4": 32, "v5p": 95}  # of one chip
# The published TFLOP/s in bfloat16 and GB/s of HBM of one chip.
RATES = {"v5e": (197, 819), "v4": (275, 1228), "v5p": (459, 2765)}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
INSTRUCTION = re.compile(rf" = (\(.*?\)|\S+) (?:ragged-)?({'|'.join(COLLECTIVES)})(-start)?\(")
GIB = 2**30


def main() -> None:
    """Compiles for every slice and batch, and prints and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="imagenet128", help="name of a file of configs/")
    parser.add_argument("--slices", default=SLICES, help="with commas, such as v5e:2x4 (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="another value of a field")
    parser.add_argument("--batch", metavar="N,N", help="global batches, by default the config's")
    parser.add_argument("--out", type=Path, help="JSON file that the rows are added to; the same row is replaced")
    flags = parser.parse_args()
    if not find_libtpu():
        parser.exit(2, "libtpu, the TPU's compiler, is not installed: make libtpu, or pip install libtpu\n")
    # Times of compiling are wanted, so nothing is taken from a cache of programs.
    jax.config.update("jax_enable_compilation_cache", False)
    jax.config.update("jax_platforms", "cpu")
    batches = [[f"train.batch_size={batch}"] for batch in flags.batch.split(",")] if flags.batch else [[]]
    for name in flags.slices.split(","):
        try:
            devices = slice_devices(name)
        except jax.errors.JaxRuntimeError as error:
            parser.exit(2, f"--slices: {name} is not a slice that libtpu knows: {error}\n")
        for batch in batches:
            config = changed_config(flags.config, [*flags.set, *batch])
            if config.train.batch_size % len(devices):
                parser.exit(2, f"{config.train.batch_size} images cannot be spread over {len(devices)} chips\n")
            experiment = TpuExperiment(config, make_mesh(devices, config.mesh.fsdp))
            row = {"config": flags.config, "set": flags.set, "slice": name, **measure(experiment, name.split(":")[0])}
            show(row)
            if flags.out:
                keep(flags.out, row)


def find_libtpu() -> bool:
    """Returns whether libtpu is installed; makes that of `make libtpu` importable and sets what it reads."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if FOLDER.is_dir() and str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    found = importlib.util.find_spec("libtpu")
    return found is not None and found.origin is not None  # else: a folder that happens to have this name


def slice_devices(name: str) -> Sequence[Any]:
    """Returns the chips of a slice such as "v5e:2x4". Raises JaxRuntimeError where there is no such slice."""
    # On a real v4 JAX joins the two cores of a chip into one device; here it has to be asked for.
    options = {"chip_config_name": "megacore"} if name.startswith("v4:") else {}
    return topologies.get_topology_desc(name, platform="tpu", **options).devices


class TpuExperiment(Experiment):
    """A config on a TPU slice that need not exist."""

    @functools.cached_property
    def step_config(self) -> TrainStepConfig:
        """Returns it as on the slice itself: its loops are not written out flat as on the CPU that compiles."""
        return dataclasses.replace(super().step_config, unroll=False)


def measure(experiment: Experiment, chip: str) -> Figures:
    """Returns all figures of one compiled step for chips such as "v5e"; what a loop contains counts once."""
    config, devices = experiment.config, experiment.mesh.devices
    key = jax.eval_shape(functools.partial(jax.random.key, 0))
    take_steps: Any = experiment.take_steps()
    start = time.perf_counter()
    lowered = take_steps.lower(experiment.abstract_state(), None, experiment.abstract_inputs(), key)
    figures = {
        "device": devices.flat[0].device_kind,
        "devices": devices.size,
        "fsdp": config.mesh.fsdp,
        "batch_size": config.train.batch_size,
        "compute_dtype": config.model.compute_dtype,
        "jax": jax.__version__,
        "libtpu": importlib.metadata.version("libtpu"),
    }
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:  # such as a program that needs more memory than the chip has
        return figures | {"compile_s": time.perf_counter() - start, "error": str(error).partition("\n")[0]}
    flops, used, text = compiled.cost_analysis()["flops"], memory(compiled.memory_analysis()), compiled.as_text()
    traffic = hbm_traffic(text, config.train.batch_size // devices.size)
    tflops_per_s, gb_per_s = RATES[chip]
    return figures | {
        "compile_s": time.perf_counter() - start,
        "gflop_per_image": flops * devices.size / config.train.batch_size / 1e9,
        "hbm_gb_per_step_and_chip": traffic,
        "compute_ms_at_peak": flops / tflops_per_s / 1e9,
        "hbm_ms_at_peak": sum(traffic.values()) / gb_per_s * 1e3,
        **used,
        "fits": {chip: used["total_gib"] <= size for chip, size in HBM_GIB.items()},
        "collectives": collectives(text),
    }


def memory(stats: Any) -> Figures:
    """Returns the GiB of one chip's memory that a program takes, from its `memory_analysis()`.

    The state is donated, so most results lie where the arguments were and do not count again.
    """
    arguments, temporary, code = (
        getattr(stats, f"{part}_size_in_bytes") / GIB for part in ("argument", "temp", "generated_code")
    )
    results = (stats.output_size_in_bytes - stats.alias_size_in_bytes) / GIB
    total = arguments + results + temporary + code
    return {"arguments_gib": arguments, "temporary_gib": temporary, "code_gib": code, "total_gib": total}


def collectives(text: str) -> dict[str, list[int]]:
    """Finds the collectives of a compiled program's text: the bytes of each result on a chip, largest first.

    A collective has several forms. One that is started and awaited by two instructions counts once; the type of its
    start has the operands beside the results, except for an all-reduce, where both have the same shapes. One that
    overlaps other work is in every fusion with such work, always with the same channel. A sum that stays sharded is a
    fusion of an all-reduce, named all-reduce-scatter, whose result has the shape of a part.
    """
    found: dict[str, list[int]] = {}
    seen, function, function_types = set(), "", ""
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            function, _, function_types = line.partition(" (")
        if not (instruction := INSTRUCTION.search(line)):
            continue
        types, name, start = instruction.groups()
        if "all-reduce-scatter" in function:
            name, types = "reduce-scatter", function_types.rpartition("->")[2]
        elif start and name != "all-reduce":
            types = parts(types)[1]
        sizes = tuple(array_bytes(types))
        if "fusion" in function or "fused" in function:
            channel = re.search(r"channel_id=\d+", line)
            same = (channel and channel[0], name, sizes)
            if same in seen:
                continue
            seen.add(same)
        found.setdefault(name, []).append(sum(sizes))
    return {name: sorted(sizes, reverse=True) for name, sizes in sorted(found.items())}


def parts(types: str) -> list[str]:
    """Splits the outermost tuple of a type such as "(f32[2], (s32[], f32[3]{0:T(128)}))"."""
    found, depth = [""], 0
    for character in types[1:-1]:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and not depth:
            found.append("")
        else:
            found[-1] += character
    return [part.strip() for part in found]


def array_bytes(types: str) -> Iterator[int]:
    """Yields the bytes of each array of a type, without what its layout adds."""
    for bits, shape in re.findall(r"\b(?:pred|[a-z]+(\d+)\w*)\[([\d,]*)\]", types):
        yield math.prod(int(length) for length in shape.split(",") if length) * int(bits or 8) // 8


def show(row: Figures) -> None:
    """Prints a row, one figure to a line."""
    for name, value in row.items():
        if name == "collectives":
            for kind, sizes in value.items():
                print(f"{kind:<32} {len(sizes)} of {sum(sizes) / 1e6:,.4g} MB, the largest of {sizes[0] / 1e6:,.4g} MB")
        elif name == "hbm_gb_per_step_and_chip":
            for part, size in value.items():
                print(f"{'HBM, ' + part:<32} {size:,.4g} GB")
        elif name == "fits":
            shown = ", ".join(f"{HBM_GIB[chip]} GiB ({chip}) {'yes' if fits else 'no'}" for chip, fits in value.items())
            print(f"{name:<32} {shown}")
        else:
            print(f"{name:<32} {f'{value:,.4g}' if isinstance(value, float) else value}")
    print(flush=True)


def keep(file: Path, row: Figures) -> None:
    """Adds a row to a JSON list, in place of one for the same program."""
    rows = json.loads(file.read_text()) if file.exists() else []
    same = ("config", "set", "slice", "batch_size")
    rows = [other for other in rows if any(other[name] != row[name] for name in same)]
    file.write_text(json.dumps([*rows, row], indent=1) + "\n")


if __name__ == "__main__":
    main()
