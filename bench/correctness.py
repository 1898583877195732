"""Whether an accelerator computes what a CPU computes in float32: generated images, losses and all gradients.

python bench/correctness.py [--config=imagenet128] [--batch-size=8] [--set=FIELD=VALUE ...] [--json=FILE]

One step from the same weights and keys, in float32 (without TF32) and in bfloat16. An error is
|found - expected| / |expected| over all numbers of a kind. Exits with 1 if one is above its bound.
"""

import argparse
import dataclasses
import functools
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from experiment import Experiment, open_experiment

from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.training.state import NetworkState
from sagan_jax.training.step import generate

KINDS = ("images", "logits", "losses", "generator's gradients", "discriminator's gradients")
# A rounding to bfloat16 is off by up to 4e-3, and a gradient passes some 40 of them: these are twice a CPU's errors.
BOUNDS = {"float32": (1e-3,) * 5, "bfloat16": (3e-2, 3e-2, 3e-2, 2.5e-1, 2.5e-1)}


def main() -> None:
    """Compares, and prints a line per kind and dtype."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="imagenet128", help="name of a file of configs/")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--json", type=Path, help="file that the line of JSON is added to")
    flags = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")
    compute = functools.partial(computed, flags.config, flags.set, flags.batch_size)
    expected = compute("float32", jax.devices("cpu")[0])
    figures: dict[str, Any] = {"config": flags.config, "device": jax.devices()[0].device_kind, "jax": jax.__version__}
    right = True
    for dtype in BOUNDS:
        found = compute(dtype, jax.devices()[0])
        figures[dtype] = {kind: error(found[kind], expected[kind]) for kind in KINDS}
        for kind, bound in zip(KINDS, BOUNDS[dtype], strict=True):
            value = figures[dtype][kind]
            right = right and value <= bound
            print(f"{dtype:<10} {kind:<28} {value:.2e}  {'' if value <= bound else f'above {bound}'}")
    print(line := json.dumps(figures))
    if flags.json:
        with flags.json.open("a") as file:
            file.write(line + "\n")
    sys.exit(not right)


def computed(config: str, settings: list[str], batch_size: int, dtype: str, device: jax.Device) -> dict[str, Any]:
    """Returns generated images, logits, losses and both networks' gradients of one step on a device."""
    # The generator's gradients come after the discriminator's update, which must not carry its rounding errors over.
    changes = [
        *settings,
        f"train.batch_size={batch_size}",
        f"model.compute_dtype={dtype}",
        "optimizer.discriminator.learning_rate=1e-20",
    ]
    experiment = dataclasses.replace(open_experiment(config, changes), mesh=make_mesh([device]))
    with jax.default_device(device):
        state = experiment.fresh_state()
        for network in (state.generator, state.discriminator):
            open_gates(network.params)
        keys = jax.random.split(jax.random.key(1), 1)
        images = jax.jit(functools.partial(generate, experiment.step_config, batch_size=batch_size, keys=keys))
        fake_images = jax.device_get(images(generator=state.generator).images)
        logits = jax.device_get(discriminate(experiment, state.discriminator))
        take_steps = experiment.take_steps()
        state, metrics = jax.device_get(take_steps(state, None, experiment.random_inputs(), jax.random.key(0)))
    losses = (metrics["d_loss"], metrics["g_loss"])
    networks = (state.generator, state.discriminator)
    return dict(zip(KINDS, (fake_images, logits, losses, *map(gradients, networks)), strict=True))


def discriminate(experiment: Experiment, discriminator: NetworkState) -> jax.Array:
    """Returns the logit of each random real image; their mean may be near 0, where a relative error means nothing."""
    images, labels = random_batch(experiment)
    apply = jax.jit(experiment.step_config.networks.discriminator.apply)
    return apply(discriminator.variables, images, labels)


def random_batch(experiment: Experiment) -> tuple[jax.Array, jax.Array]:
    """Returns images [B, H, W, 3] in [-1, 1] and labels [B], the same on every device."""
    config, random = experiment.config, np.random.default_rng(0)
    shape = (config.train.batch_size, config.data.resolution, config.data.resolution, 3)
    labels = random.integers(0, max(1, config.model.num_classes), shape[0])
    return jnp.asarray(random.uniform(-1, 1, shape), jnp.float32), jnp.asarray(labels, jnp.int32)


def open_gates(params: dict[str, Any]) -> None:
    """Gives every attention layer a gamma that is not 0."""
    for name, layer in params.items():
        if name.startswith("attention"):
            layer["gamma"] = jnp.full_like(layer["gamma"], 0.5)


def gradients(network: Any) -> Any:
    """Returns the gradients: after one update, Adam's first moment up to a factor."""
    return network.opt_state[0].mu


def error(found: Any, expected: Any) -> float:
    """Computes the relative error over all numbers of two trees; infinite where one is not a number."""
    pairs = list(zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True))
    difference = sum(np.sum(np.square(np.subtract(a, b, dtype=np.float64))) for a, b in pairs)
    size = sum(np.sum(np.square(b, dtype=np.float64)) for _, b in pairs)
    return float(np.sqrt(difference / size)) if np.isfinite(difference) else float("inf")


if __name__ == "__main__":
    main()
