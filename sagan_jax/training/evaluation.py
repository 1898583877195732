"""Measures a finished run on its own data set."""

import numpy as np
from ml_collections import ConfigDict

from sagan_jax.data.source import ImageSource, ImageStream
from sagan_jax.errors import InputError
from sagan_jax.metrics.small_images import METRICS
from sagan_jax.runtime.randomness import stream
from sagan_jax.training.sampling import Sampler
from sagan_jax.training.state import Tree

MOST_REAL_IMAGES = 10_000  # the metrics fit a classifier to raw pixels, which more would only slow down


def check_evaluation(config: ConfigDict, source: ImageSource | ImageStream) -> None:
    """Raises InputError if the metrics that `config.evaluation` names cannot be measured on this data."""
    metrics, classes, samples = config.evaluation.metrics, config.model.num_classes, config.evaluation.num_samples
    if not metrics:
        return
    if not isinstance(source, ImageSource):
        raise InputError(
            f"evaluation.metrics = {metrics} needs random access to images, which {source.name} lacks: set it to ()."
        )
    if classes < 2:
        raise InputError(
            f"evaluation.metrics = {metrics} compares classes, but model.num_classes = {classes}: set it to ()."
        )
    if samples < 2 * classes:
        raise InputError(
            f"evaluation.num_samples = {samples} is too few for {classes} classes: use at least {2 * classes}."
        )


def evaluate(
    config: ConfigDict, source: ImageSource | ImageStream, sampler: Sampler, variables: Tree
) -> dict[str, float]:
    """The metrics that `config.evaluation` names, for frozen variables of the generator.

    Samples are balanced over the classes and drawn from a stream of the config's seed.
    """
    count, classes = config.evaluation.num_samples, config.model.num_classes
    fake_labels = np.arange(count, dtype=np.int32) % classes
    latents = sampler.fixed_latents(count, stream(config.seed, "evaluation"))
    fake_images = sampler.images(variables, latents, fake_labels)
    assert isinstance(source, ImageSource), "see check_evaluation"
    real_images, real_labels = real_sample(source, config.seed)
    return {
        name: METRICS[name](real_images, real_labels, fake_images, fake_labels) for name in config.evaluation.metrics
    }


def real_sample(source: ImageSource, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """All real images and labels, or MOST_REAL_IMAGES of them picked by the seed."""
    chosen = np.random.default_rng(seed).permutation(len(source))[:MOST_REAL_IMAGES]
    return source.load(chosen)
