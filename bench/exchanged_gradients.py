"""What adding up gradients over devices in bfloat16, as XLA does with kernels on GPUs, costs: the error of each array.

python bench/exchanged_gradients.py [--config=imagenet128] [--devices=8] [--batch-size=4] [--set=FIELD=VALUE ...]

The discriminator's gradients in bfloat16 of as many batches as there are devices, --batch-size random images each: the
kernels' rounded to bfloat16 and added up in bfloat16, one device after the other as in a ring, against their sum in
float32. Runs on one CPU. The generator's kernels are exchanged in the same way.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np
from correctness import Arrays, open_gates
from experiment import changed_config
from flax.traverse_util import flatten_dict

from sagan_jax.training.step_config import build_step_config


def main() -> None:
    """Prints the arrays with the largest errors, and all together."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="imagenet128", help="name of a file of configs/")
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=4, help="real images on each device")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    flags = parser.parse_args()
    found = gradients_of_devices(flags.config, flags.set, flags.devices, flags.batch_size)
    exact, rounded = (functools.reduce(add, found) for add in (add_float32, add_bfloat16))
    errors = {path: error(rounded[path], exact[path]) for path in exact if path[-1] == "kernel"}
    for path, (size, cosine) in sorted(errors.items(), key=lambda item: -item[1][0])[:5]:
        print(f"{'/'.join(path):<32} error {size:.2e} of the gradient's length, cosine {cosine:.6f}")
    print(f"{len(errors)} kernels: median error {np.median([size for size, _ in errors.values()]):.2e}")
    print(f"bytes exchanged: {sum(exact[path].size for path in errors) * 2:,} in place of twice as many")


def gradients_of_devices(config_name: str, settings: list[str], devices: int, batch_size: int) -> list[Arrays]:
    """Computes the gradients of the mean logit difference of real and other images, of a batch per device."""
    config = changed_config(config_name, [*settings, "model.compute_dtype=bfloat16"])
    side, classes = config.data.resolution, max(1, config.model.num_classes)
    module = build_step_config(config).networks.discriminator
    random = np.random.default_rng(0)
    images = jnp.float32(random.uniform(-1, 1, (devices, 2 * batch_size, side, side, 3)))
    labels = jnp.int32(random.integers(0, classes, (devices, 2 * batch_size)))
    variables = jax.jit(module.init)(jax.random.key(0), images[0], labels[0])
    open_gates(variables["params"])

    def loss(params: dict, images: jax.Array, labels: jax.Array) -> jax.Array:
        logits = module.apply(variables | {"params": params}, images, labels)
        return jnp.mean(logits[0::2]) - jnp.mean(logits[1::2])

    gradient = jax.jit(jax.grad(loss))
    computed = (gradient(variables["params"], *batch) for batch in zip(images, labels, strict=True))
    return [{path: np.asarray(x) for path, x in flatten_dict(jax.device_get(tree)).items()} for tree in computed]


def add_float32(total: Arrays, other: Arrays) -> Arrays:
    """Adds float32 arrays."""
    return {path: total[path] + other[path] for path in total}


def add_bfloat16(total: Arrays, other: Arrays) -> Arrays:
    """Adds arrays rounded to bfloat16, in bfloat16."""
    return {path: total[path].astype(jnp.bfloat16) + other[path].astype(jnp.bfloat16) for path in total}


def error(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Returns the error's length by that of the expected array, and the cosine between the arrays."""
    found, expected = np.float64(found).ravel(), np.float64(expected).ravel()
    length = np.linalg.norm(expected)
    return float(np.linalg.norm(found - expected) / length), float(found @ expected / np.linalg.norm(found) / length)


if __name__ == "__main__":
    main()
