"""How fast each layer's operations run alone, against the chip's rates: where a step's time can go.

python bench/operations.py [--config=imagenet128] [--set=train.batch_size=64 ...] [--json=FILE]

For every 3x3 convolution of both networks, forward and with its gradients: joined with the resampling beside it, and
apart; and the attention. Rates count the operations that the form needs; "floor" is the time that they and the bytes
of inputs and outputs take at the rates of a matrix product and of a copy, timed in the same process.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from experiment import Experiment, open_experiment
from train_step import matmul_rate

from sagan_jax.models.attention import attend
from sagan_jax.ops.convolution import conv2d
from sagan_jax.ops.resampling import conv2d_mean_pool, mean_pool, upsample, upsample_conv2d


class Operation(NamedTuple):
    """One operation of one layer.

    Attributes:
      layer: such as "generator 64 px, 256 -> 128".
      form: "joined", "apart", "same size" or "attention".
      function: of the arrays of these shapes; the first is an image.
      flops: of one call forward.
    """

    layer: str
    form: str
    function: Callable[..., jax.Array]
    shapes: tuple[tuple[int, ...], ...]
    flops: float


def main() -> None:
    """Times all operations and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="imagenet128", help="name of a file of configs/")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="another value of a field")
    parser.add_argument("--json", type=Path, help="file that the line of JSON is added to")
    flags = parser.parse_args()
    experiment = open_experiment(flags.config, flags.set, devices=1)
    rate, bandwidth = matmul_rate(experiment), copy_rate()
    print(f"matrix product {rate / 1e12:.3g} TFLOP/s, copy {bandwidth / 1e9:.4g} GB/s")
    print(f"{'layer':<34} {'form':<10} {'forward':>9} {'floor':>9} {'+ grads':>9} {'floor':>9}  ms")
    dtype = experiment.step_config.networks.generator.config.compute_dtype
    rows = []
    for operation in operations(experiment):
        forward, both = time_operation(operation, dtype)
        needed = bytes_needed(operation, dtype)
        work_ms, traffic_ms = operation.flops / rate * 1e3, needed / bandwidth * 1e3
        floor = max(work_ms, traffic_ms)
        shown = " ".join(f"{ms:>9.3f}" for ms in (forward, floor, both, 3 * floor))  # with gradients: three passes
        print(f"{operation.layer:<34} {operation.form:<10} {shown}", flush=True)
        row = {"layer": operation.layer, "form": operation.form, "flops": operation.flops, "bytes": needed}
        row |= {"bound": "work" if work_ms > traffic_ms else "memory", "forward_ms": forward, "floor_ms": floor}
        rows.append(row | {"with_gradients_ms": both, "floor_with_gradients_ms": 3 * floor})
    figures = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "config": flags.config}
    figures |= {"set": flags.set, "batch_size": experiment.config.train.batch_size, "dtype": jnp.dtype(dtype).name}
    figures |= {"matmul_tflop_per_s": rate / 1e12, "copy_gb_per_s": bandwidth / 1e9, "operations": rows}
    print(line := json.dumps(figures))
    if flags.json:
        with flags.json.open("a") as file:
            file.write(line + "\n")


def operations(experiment: Experiment) -> Iterator[Operation]:
    """Yields those of both networks; the discriminator's are on real and generated images together."""
    networks, batch = experiment.step_config.networks, experiment.config.train.batch_size
    architecture = networks.generator.architecture
    for before, after, side in zip(
        architecture.widths, architecture.widths[1:], architecture.resolutions[1:], strict=False
    ):
        name = f"generator {side} px, {before} -> {after}"
        flops, shapes = (
            2 * batch * side**2 * before * after,
            ((batch, side // 2, side // 2, before), (3, 3, before, after)),
        )
        yield Operation(name, "joined", upsample_conv2d, shapes, flops * 4)
        yield Operation(name, "apart", lambda x, k: conv2d(upsample(x), k), shapes, flops * 9)
        yield from _same_size(f"generator {side} px", batch, side, after, after)
    architecture = networks.discriminator.architecture
    side, width = experiment.config.data.resolution, 3
    for after, below in zip(architecture.widths, architecture.resolutions, strict=True):
        yield from _same_size(f"discriminator {side} px", 2 * batch, side, width, after)
        name = f"discriminator {side} px, {after} -> {after}"
        flops, shapes = 2 * 2 * batch * below**2 * after**2, ((2 * batch, side, side, after), (3, 3, after, after))
        if below < side:
            yield Operation(name, "joined", conv2d_mean_pool, shapes, flops * 16)
            yield Operation(name, "apart", lambda x, k: mean_pool(conv2d(x, k)), shapes, flops * 36)
        else:
            yield from _same_size(f"discriminator {side} px", 2 * batch, side, after, after)
        if below in architecture.attention:
            yield _attention(f"discriminator {below} px, {after}", 2 * batch, below, after)
        side, width = below, after


def _same_size(name: str, batch: int, side: int, before: int, after: int) -> Iterator[Operation]:
    shapes = ((batch, side, side, before), (3, 3, before, after))
    yield Operation(f"{name}, {before} -> {after}", "same size", conv2d, shapes, 18 * batch * side**2 * before * after)


def _attention(name: str, batch: int, side: int, channels: int) -> Operation:
    narrow, half, queries = channels // 8, channels // 2, side**2
    shapes = ((batch, queries, narrow), (batch, queries // 4, narrow), (batch, queries // 4, half))
    return Operation(name, "attention", attend, shapes, 2 * batch * queries * queries // 4 * (narrow + half))


def time_operation(operation: Operation, dtype: Any) -> tuple[float, float]:
    """Returns the milliseconds of the operation alone, and with the gradients of all its inputs."""
    keys = jax.random.split(jax.random.key(0), len(operation.shapes))
    arrays = [jax.random.normal(key, shape, dtype) / 8 for key, shape in zip(keys, operation.shapes, strict=True)]
    if operation.form != "attention":
        arrays[1] = arrays[1].astype(jnp.float32)  # kernels

    def with_gradients(*arrays: jax.Array) -> Any:
        result, pull_back = jax.vjp(operation.function, *arrays)
        return result, pull_back(result)

    return milliseconds(jax.jit(operation.function), arrays), milliseconds(jax.jit(with_gradients), arrays)


def milliseconds(function: Callable[..., Any], arrays: list[jax.Array]) -> float:
    """Returns the shortest time of a call over some rounds."""
    jax.block_until_ready(function(*arrays))
    best, calls = float("inf"), 1
    for _ in range(4):
        start = time.perf_counter()
        jax.block_until_ready([function(*arrays) for _ in range(calls)])
        elapsed = (time.perf_counter() - start) / calls
        best, calls = min(best, elapsed), max(1, min(20, round(0.02 / elapsed)))
    return best * 1e3


def bytes_needed(operation: Operation, dtype: Any) -> int:
    """Returns the bytes of inputs and result, each passed over once."""
    result = jax.eval_shape(operation.function, *(jax.ShapeDtypeStruct(shape, dtype) for shape in operation.shapes))
    numbers = result.size + sum(jax.ShapeDtypeStruct(shape, dtype).size for shape in operation.shapes)
    return numbers * jnp.dtype(dtype).itemsize


def copy_rate() -> float:
    """Returns the bytes read and written per second by a copy of 1 GiB (a CPU: of 256 MiB) on the first device."""
    count = 2**26 if jax.default_backend() == "cpu" else 2**28
    x = jax.random.normal(jax.random.key(0), (count,))
    return 2 * x.nbytes / (milliseconds(jax.jit(lambda x: x + 1), [x]) / 1e3)


if __name__ == "__main__":
    main()
