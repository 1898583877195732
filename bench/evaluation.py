"""How long an evaluation takes: generated images, features of them, and all scores; or the nearest neighbours alone.

python bench/evaluation.py [--config=imagenet128] [--samples=10000] [--features=NAME --weights=FILE] [--json=FILE]
python bench/evaluation.py --neighbours=50000 [--dimensions=2048] [--json=FILE]

The generator's weights are random, and so are those of Inception without --weights: the time does not depend on them.
The real features are those of other samples; in practice they come from the cache. The clock starts when everything is
compiled. --neighbours measures precision to coverage of so many random features against as many.
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from experiment import Experiment, open_experiment

from sagan_jax.data.arrays import ArrayImages
from sagan_jax.evaluation.comparison import Real, compare
from sagan_jax.features.extraction import extract_features
from sagan_jax.features.extractor import Extractor, inception_extractor, open_extractor
from sagan_jax.metrics.inception import SIDE, Inception
from sagan_jax.metrics.neighbours import fidelity
from sagan_jax.sampling.sampler import Sampler
from sagan_jax.training.evaluation import generated_images


def main() -> None:
    """Measures, and prints one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="imagenet128", help="name of a file of configs/")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--features", default="inception2015", help="network of the file in --weights")
    parser.add_argument("--weights", default="", help="file; by default Inception's are random")
    parser.add_argument("--neighbours", type=int, metavar="N", help="only precision to coverage, of N features of each")
    parser.add_argument("--dimensions", type=int, default=2048, help="of these features")
    parser.add_argument("--json", type=Path, help="file that the line of JSON is added to")
    flags = parser.parse_args()
    where = {"device": jax.devices()[0].device_kind, "cores": len(os.sched_getaffinity(0)), "jax": jax.__version__}
    figures = where | (measure_neighbours(flags) if flags.neighbours else measure_evaluation(flags))
    figures["peak_host_memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    for name, value in figures.items():
        print(f"{name:<34} {value:,.2f}" if isinstance(value, float) else f"{name:<34} {value}")
    if flags.json:
        with flags.json.open("a") as file:
            file.write(json.dumps(figures) + "\n")


def measure_neighbours(flags: argparse.Namespace) -> dict[str, Any]:
    """Measures precision to coverage, and the memory of the features themselves."""
    random, shape = np.random.default_rng(0), (flags.neighbours, flags.dimensions)
    real, fake = (random.standard_normal(shape, np.float32) for _ in range(2))
    start = time.perf_counter()
    fidelity(real, fake)
    seconds = time.perf_counter() - start
    return {
        "features_of_each": flags.neighbours,
        "dimensions": flags.dimensions,
        "features_gb": (real.nbytes + fake.nbytes) / 1e9,
        "seconds": seconds,
    }


def measure_evaluation(flags: argparse.Namespace) -> dict[str, Any]:
    """Measures a whole evaluation and its parts."""
    experiment = open_experiment(flags.config)
    mesh, config = experiment.mesh, experiment.config
    sampler, variables = random_sampler(experiment, flags.batch_size)
    extractor = random_inception()
    if flags.weights:
        extractor = open_extractor(flags.features, flags.weights, "legacy", no_images, 0)
    class_names = [str(label) for label in range(config.model.num_classes)]
    source = ArrayImages("real", *no_images(0), class_names)

    def measured(count: int, seed: int, real: Real | None) -> tuple[Any, float]:
        generated = generated_images(sampler, variables, count, seed, labelled=True)
        start = time.perf_counter()
        if real is None:
            return extract_features(extractor, generated.batches(), count, "warm-up", mesh), 0.0
        return compare(extractor, real, generated, mesh)[0], time.perf_counter() - start

    features, _ = measured(flags.samples, 1, None)  # compiles
    evaluation, seconds = measured(flags.samples, 0, Real(source, features, {}))
    return {
        "config": flags.config,
        "features": extractor.name,
        "samples": flags.samples,
        "seconds": seconds,
        "seconds_for_images_and_features": evaluation.seconds["images and features"],
        "seconds_for_scores": evaluation.seconds["scores"],
        "images_per_s": flags.samples / evaluation.seconds["images and features"],
    }


def no_images(_: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns no images and labels, for a data set that only needs its features."""
    return np.zeros((0, SIDE, SIDE, 3), np.uint8), np.zeros(0, np.int32)


def random_sampler(experiment: Experiment, batch_size: int) -> tuple[Sampler, Any]:
    """Returns the sampler and the frozen variables of a generator with random weights."""
    step_config = experiment.step_config
    sampler = Sampler(
        step_config.networks.generator, step_config.prior, experiment.mesh, batch_size=batch_size, standing_batches=1
    )
    return sampler, sampler.freeze(experiment.fresh_state().ema_params, 0)


def random_inception() -> Extractor:
    """Returns the whole network with random weights."""
    params = jax.jit(Inception().init)(jax.random.key(0), np.zeros((1, SIDE, SIDE, 3), np.float32))["params"]
    return inception_extractor("2048", "legacy", params, {"weights": "random"})


if __name__ == "__main__":
    main()
