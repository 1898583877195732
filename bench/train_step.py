"""How fast a training step is, how much of the chip it uses, and how long it takes to compile.

python bench/train_step.py --config=imagenet128 [--set=train.batch_size=64 ...] [--json=FILE]

A timed step is everything from uint8 images on the device to updated weights. Steps follow each other without waiting;
the clock is read after several of them. The fraction of the peak (MFU) is that of a matrix product in the compute dtype
which is timed in the same process; floating-point operations are those of the program before the compiler, as XLA
counts them.
"""

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from experiment import Experiment, open_experiment
from kernels import top_kernels

from sagan_jax.runtime.sharding import replicated

Figures = dict[str, Any]


def main() -> None:
    """Measures one config, prints a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="imagenet128", help="name of a file of configs/")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="another value of a field")
    parser.add_argument("--devices", type=int, help="by default all")
    parser.add_argument("--rounds", type=int, default=5, help="times the clock is read")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round, about")
    parser.add_argument("--profile", action="store_true", help="also say which kernels take the time")
    parser.add_argument("--json", type=Path, help="file that the line of JSON is added to")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        if flags.devices:
            jax.config.update("jax_num_cpu_devices", flags.devices)
        experiment = open_experiment(flags.config, flags.set, flags.devices)
        figures = measure(experiment, flags.rounds, flags.seconds, profile=flags.profile)
    figures = {"config": flags.config, "set": flags.set, **figures}
    for name, value in figures.items():
        if name != "top_kernels":
            print(f"{name:<32} {f'{value:,.4g}' if isinstance(value, float) else value}")
    for kernel, ms, fraction in figures.get("top_kernels", ()):
        print(f"{ms:>10.3f} ms {fraction:>6.1%}  {kernel}")
    line = json.dumps(figures)
    print(line)
    if flags.json:
        with flags.json.open("a") as file:
            file.write(line + "\n")


def measure(experiment: Experiment, rounds: int, seconds: float, *, profile: bool = False) -> Figures:
    """Returns all figures of one experiment; times are seconds of the wall clock unless their names begin with ms."""
    config, device = experiment.config, experiment.mesh.devices.flat[0]
    compiled, program, cold = compile_once(experiment)
    _, _, warm = compile_once(experiment)
    matmul = matmul_rate(experiment)
    take, per_call = steps_taker(experiment, compiled), config.train.steps_per_call
    steps_ms = time_steps(take, per_call, rounds, seconds)
    median = statistics.median(steps_ms)
    flops = program["flops"] / per_call
    memory = compiled.memory_analysis()
    kernels = {"top_kernels": top_kernels(lambda: take(1))} if profile else {}
    return kernels | {
        "device": device.device_kind,
        "devices": experiment.mesh.devices.size,
        "jax": jax.__version__,
        "batch_size": config.train.batch_size,
        "discriminator_updates": config.train.discriminator_updates,
        "compute_dtype": config.model.compute_dtype,
        "steps_per_call": per_call,
        "ms_median": median,
        "ms_min": min(steps_ms),
        "ms_max": max(steps_ms),
        "real_images_per_s": experiment.images_per_step / median * 1e3,
        "generator_step_images_per_s": config.train.batch_size / median * 1e3,
        "gflop_per_image": flops / config.train.batch_size / 1e9,
        "gb_per_step_unfused": program["bytes accessed"] / per_call / 1e9,
        "tflop_per_s": flops / median / 1e9,
        "matmul_tflop_per_s": matmul / 1e12,
        "mfu": flops / median * 1e3 / matmul / experiment.mesh.devices.size,
        "compiled_temporary_gib": memory.temp_size_in_bytes / 2**30,
        "compiled_arguments_gib": memory.argument_size_in_bytes / 2**30,
        "peak_memory_gib": peak_memory(device) / 2**30,
        "compile_s_cold": cold,
        "compile_s_cached": warm,
    }


def compile_once(experiment: Experiment) -> tuple[Any, Figures, float]:
    """Returns the executable, XLA's count of its program's work, and the seconds to trace and compile it."""
    jax.clear_caches()
    start = time.perf_counter()
    lowered = experiment.take_steps().lower(
        experiment.abstract_state(), None, experiment.abstract_inputs(), jax.random.key(0)
    )
    compiled = lowered.compile()
    return compiled, lowered.cost_analysis(), time.perf_counter() - start


def steps_taker(experiment: Experiment, take_steps: Callable[..., Any]) -> Callable[[int], float]:
    """Returns a warmed-up function that takes so many calls of steps, goes on each time, and returns the seconds."""
    state, inputs = experiment.fresh_state(), experiment.random_inputs()
    key = jax.device_put(jax.random.key(0), replicated(experiment.mesh))

    def take(calls: int) -> float:
        nonlocal state
        start = time.perf_counter()
        for _ in range(calls):
            state, metrics = take_steps(state, None, inputs, key)
        jax.block_until_ready((state, metrics))
        return time.perf_counter() - start

    take(2)
    return take


def time_steps(take: Callable[[int], float], per_call: int, rounds: int, seconds: float) -> list[float]:
    """Returns the milliseconds per step of each round; a call takes `per_call` steps."""
    calls = max(1, round(seconds / take(1)))
    return [take(calls) / calls / per_call * 1e3 for _ in range(rounds)]


def matmul_rate(experiment: Experiment) -> float:
    """Returns the operations per second of one device in a large square matrix product of random numbers."""
    device = experiment.mesh.devices.flat[0]
    dtype = experiment.step_config.networks.generator.config.compute_dtype
    size = 1024 if device.platform == "cpu" else 8192
    with jax.default_device(device):
        left, right = (jax.random.normal(jax.random.key(i), (size, size), dtype) for i in range(2))
        multiply = jax.jit(jnp.matmul)
        best, calls = float("inf"), 3 if device.platform == "cpu" else 30
        for _ in range(6):  # the first one compiles
            start = time.perf_counter()
            jax.block_until_ready([multiply(left, right) for _ in range(calls)])
            best = min(best, (time.perf_counter() - start) / calls)
    return 2 * size**3 / best


def peak_memory(device: jax.Device) -> int:
    """Returns the most bytes in use: on the device, or for a CPU by the process."""
    stats = device.memory_stats() or {}
    return stats.get("peak_bytes_in_use", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
