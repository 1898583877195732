"""How long an evaluation takes: generated images, Inception's features of them, and all scores.

python bench/evaluation.py [--config=configs/imagenet128.py] [--samples=10000] [--output=bench/results/evaluation.json]

All weights are random: the time does not depend on them. The real features are those of other samples; in practice they
come from the cache. The clock starts when everything is compiled.
"""

import argparse
import functools
import importlib.util
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from sagan_jax.data.arrays import ArrayImages
from sagan_jax.evaluation.comparison import Real, compare
from sagan_jax.features.extraction import extract_features
from sagan_jax.features.extractor import Extractor, inception_extractor
from sagan_jax.metrics.inception import SIDE, Inception
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.training.evaluation import generated_images
from sagan_jax.training.sampling import Sampler
from sagan_jax.training.state import create_state
from sagan_jax.training.step import build_recipe


def main() -> None:
    """Measures, and prints one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("configs/imagenet128.py"))
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    flags = parser.parse_args()
    mesh, config = make_mesh(), load_config(flags.config)
    sampler, variables = random_sampler(config, flags.batch_size)
    extractor = random_inception()
    class_names = [str(label) for label in range(config.model.num_classes)]
    no_images = ArrayImages("real", class_names, np.zeros((0, SIDE, SIDE, 3), np.uint8), np.zeros(0, np.int32))

    def measured(count: int, seed: int, real: Real | None) -> tuple[Any, float]:
        generated = generated_images(sampler, variables, count, seed, labelled=True)
        start = time.perf_counter()
        if real is None:
            return extract_features(extractor, generated.batches(), count, "warm-up", mesh), 0.0
        return compare(extractor, real, generated, mesh)[0], time.perf_counter() - start

    features, _ = measured(flags.samples, 1, None)  # compiles
    evaluation, seconds = measured(flags.samples, 0, Real(no_images, features, {}))
    figures = {
        "device": jax.devices()[0].device_kind,
        "cores": len(os.sched_getaffinity(0)),
        "jax": jax.__version__,
        "config": flags.config.stem,
        "samples": flags.samples,
        "seconds": seconds,
        "seconds_for_images_and_features": evaluation.seconds["images and features"],
        "seconds_for_scores": evaluation.seconds["scores"],
        "images_per_s": flags.samples / evaluation.seconds["images and features"],
        "peak_host_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    for name, value in figures.items():
        print(f"{name:<34} {value:,.2f}" if isinstance(value, float) else f"{name:<34} {value}")
    if flags.output:
        flags.output.parent.mkdir(parents=True, exist_ok=True)
        flags.output.write_text(json.dumps(figures, indent=2) + "\n")


def load_config(path: Path) -> ConfigDict:
    """The config of a file."""
    spec = importlib.util.spec_from_file_location("config", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def random_sampler(config: ConfigDict, batch_size: int) -> tuple[Sampler, Any]:
    """A fresh generator, frozen."""
    recipe = build_recipe(config)
    state = jax.jit(functools.partial(create_state, recipe.networks, recipe.optimizers, recipe.prior))(
        jax.random.key(0)
    )
    sampler = Sampler(recipe.networks.generator, recipe.prior, make_mesh(), batch_size=batch_size, standing_batches=1)
    return sampler, sampler.freeze(state.ema_params, 0)


def random_inception() -> Extractor:
    """The whole network with random weights."""
    params = jax.jit(Inception().init)(jax.random.key(0), np.zeros((1, SIDE, SIDE, 3), np.float32))["params"]
    return inception_extractor("2048", "legacy", params, {"weights": "random"})


if __name__ == "__main__":
    main()
