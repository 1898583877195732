"""Whether an accelerator computes what a CPU computes in float32: generated images, losses and all gradients.

python bench/correctness.py [--config=imagenet128] [--batch-size=8] [--set=FIELD=VALUE ...] [--json=FILE]

One step from the same weights and keys, in float32 (without TF32) and in bfloat16. The error of images, logits and
losses is |found - expected| / |expected| over all numbers; gradients are compared array by array, see `disagreements`.
Exits with 1 if something is out of bounds.
"""

import argparse
import dataclasses
import functools
import json
import sys
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from experiment import Experiment, changed_config

from sagan_jax.objectives.losses import AdversarialLoss
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.training.state import NetworkState
from sagan_jax.training.step import generate
from sagan_jax.training.step_config import TrainStepConfig

Arrays = dict[tuple[str, ...], np.ndarray]  # by path in the tree of parameters

KINDS = ("images", "logits", "losses")
NETWORKS = ("generator", "discriminator")
BOUNDS = {"float32": 1e-3, "bfloat16": 3e-2}
# Smallest cosine, largest difference of norms, and largest error by that of the kernel beside it. A rounding to
# bfloat16 is off by up to 4e-3, and a gradient passes some 40 of them.
GRADIENT_BOUNDS = {"float32": (0.9999, 1e-2, 1e-3), "bfloat16": (0.98, 0.05, 0.02)}
# Not the hinge: at its margin rounding decides whether an image counts. Nor a difference of real and generated images,
# most of which cancels.
LOSS = AdversarialLoss(lambda real, fake: jnp.mean(real) + jnp.mean(fake), lambda fake, real: -jnp.mean(fake))


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
        for kind, value in figures[dtype].items():
            right = right and value <= BOUNDS[dtype]
            print(f"{dtype:<10} {kind:<28} {value:.2e}  {'' if value <= BOUNDS[dtype] else f'above {BOUNDS[dtype]}'}")
        for network in NETWORKS:
            wrong = disagreements(found[network], expected[network], dtype)
            figures[dtype][f"{network}'s gradients"] = wrong
            right = right and not wrong
            kind = f"{network}'s gradients"
            print(f"{dtype:<10} {kind:<28} {len(wrong)} of {len(expected[network])} arrays disagree")
            for name, how in wrong.items():
                print(f"{'':<10} {name}: {how}")
    print(line := json.dumps(figures))
    if flags.json:
        with flags.json.open("a") as file:
            file.write(line + "\n")
    sys.exit(not right)


class LinearExperiment(Experiment):
    """A config with the loss whose gradients are well conditioned."""

    @functools.cached_property
    def step_config(self) -> TrainStepConfig:
        """Returns what the step is made of."""
        return dataclasses.replace(super().step_config, loss=LOSS)


def computed(config: str, settings: list[str], batch_size: int, dtype: str, device: jax.Device) -> dict[str, Any]:
    """Returns generated images, logits, losses and both networks' gradients of one step on a device."""
    # The generator's gradients come after the discriminator's update, which must not carry its rounding errors over.
    changes = [
        *settings,
        f"train.batch_size={batch_size}",
        f"model.compute_dtype={dtype}",
        "optimizer.discriminator.learning_rate=1e-20",
    ]
    experiment = LinearExperiment(changed_config(config, changes), make_mesh([device]))
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
    gradients = {network: first_gradients(getattr(state, network)) for network in NETWORKS}
    return dict(zip(KINDS, (fake_images, logits, losses), strict=True)) | gradients


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


def first_gradients(network: NetworkState) -> Arrays:
    """Returns the gradients: after one update, Adam's first moment up to a factor."""
    moments = jax.device_get(network.opt_state[0].mu)
    return {path: np.float64(array) for path, array in flax.traverse_util.flatten_dict(moments).items()}


def disagreements(found: Arrays, expected: Arrays, dtype: str) -> dict[str, str]:
    """Returns which arrays are not those expected of a dtype, and how.

    An array passes by its direction and length. The sums of some all but cancel: that of a bias before a batch norm, of
    a gate, of queries and keys where attention is almost even. For these the error is small beside the gradient of the
    kernel that is made of the same terms.
    """
    least_cosine, most_difference, most_error = GRADIENT_BOUNDS[dtype]
    wrong = {}
    for path, right in expected.items():
        norms = np.linalg.norm(found[path]), np.linalg.norm(right)
        cosine, ratio = np.sum(found[path] * right) / (norms[0] * norms[1]), norms[0] / norms[1]
        kernel = {"bias": (*path[:-1], "kernel"), "gamma": (*path[:-1], "output", "kernel")}.get(path[-1])
        if path[-2:] in (("query", "kernel"), ("key", "kernel")):
            kernel = (*path[:-2], "value", "kernel")
        scale = np.linalg.norm(expected[kernel]) if kernel in expected else 0
        close = cosine >= least_cosine and abs(ratio - 1) <= most_difference
        if not close and not np.linalg.norm(found[path] - right) <= most_error * scale:
            wrong["/".join(path)] = f"cosine {cosine:.4f}, norm {ratio:.4f} of {norms[1]:.2e}"
    return wrong


def error(found: Any, expected: Any) -> float:
    """Computes the relative error over all numbers of two trees; infinite where one is not a number."""
    pairs = list(zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True))
    difference = sum(np.sum(np.square(np.subtract(a, b, dtype=np.float64))) for a, b in pairs)
    size = sum(np.sum(np.square(b, dtype=np.float64)) for _, b in pairs)
    return float(np.sqrt(difference / size)) if np.isfinite(difference) else float("inf")


if __name__ == "__main__":
    main()
