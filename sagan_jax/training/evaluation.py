"""Scores of a generator while it learns, on the devices that train it; the best checkpoint is kept."""

import json
import math
import time
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sagan_jax.data.source import ImageSource, ImageStream
from sagan_jax.errors import InputError
from sagan_jax.evaluation.comparison import (
    SHOWN_SAMPLES,
    Batches,
    Generated,
    compare,
    extractor_for,
    neighbour_sheet,
    real_images,
)
from sagan_jax.evaluation.image_sets import open_real, random_order
from sagan_jax.evaluation.record import Evaluation, result_name
from sagan_jax.evaluation.scores import FEWEST_NEIGHBOURS, FEWEST_OF_A_CLASS, KINDS, label_accuracy_is_known
from sagan_jax.features.extractor import CLASSIFIERS, NAMES, Extractor, check_extractor
from sagan_jax.metrics.frechet import FEWEST_WITHIN_A_CLASS
from sagan_jax.metrics.neighbours import Fidelity
from sagan_jax.runtime.checkpoint import BestCheckpoint
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.timing import info
from sagan_jax.runtime.workdir import BEST, EVALUATIONS, NEIGHBOURS, step_name, write_or_warn
from sagan_jax.runtime.writer import RunWriter
from sagan_jax.sampling.sampler import Sampler
from sagan_jax.training.state import TrainState, Tree

CLASS_KINDS = ("intra_class_frechet", "label_accuracy")


class Comparison(NamedTuple):
    """What samples are compared with.

    Attributes:
      extractor: the feature network.
      real: real images.
      labelled: whether their classes are those of the samples.
      seconds: that it took to open both, and to train the network where it is.
    """

    extractor: Extractor
    real: ImageSource
    labelled: bool
    seconds: float


def open_comparison(config: ConfigDict, source: ImageSource | ImageStream) -> Comparison | None:
    """Opens what `config.eval` names; returns None where it names no features.

    Args:
      config: of the run, with `model.num_classes` known.
      source: the training images.

    Raises:
      InputError: something is missing or does not fit.
    """
    start, settings = time.perf_counter(), config.eval
    if not settings.features:
        return None
    if not settings.real and not isinstance(source, ImageSource):
        raise InputError(
            f"needs random access to real images, which {source.name} lacks",
            field="eval.features",
            value=settings.features,
            remedy="name a prepared set in eval.real, or set eval.features to ''",
        )
    real = open_real(config.data, settings.real) if settings.real else source
    assert isinstance(real, ImageSource)
    labelled = config.model.num_classes > 1 and real.class_names == source.class_names
    _check_best(config, real, labelled)
    extractor = extractor_for(settings.features, settings.weights, settings.resize, real)
    return Comparison(extractor, real, labelled, time.perf_counter() - start)


def _check_best(config: ConfigDict, real: ImageSource, labelled: bool) -> None:
    """Raises InputError where it is known already that `eval.best` cannot be measured."""
    settings, best = config.eval, config.eval.best
    count = min(settings.num_real or len(real), len(real))
    if min(settings.num_samples, count) < FEWEST_NEIGHBOURS and best in Fidelity._fields:
        raise _best_error(best, f"needs at least {FEWEST_NEIGHBOURS} images of each kind")
    if best not in CLASS_KINDS:
        return
    if not labelled:
        classes = f"model.num_classes = {config.model.num_classes}"
        raise _best_error(best, f"compares classes, but {classes}, or the real images have other classes")
    if real.labels is None:  # known once they are read
        return
    labels = real.labels[random_order(real, count)]
    if best == "label_accuracy" and not label_accuracy_is_known(labels):
        wrong = f"needs at least {FEWEST_OF_A_CLASS} real images of each class, but a class has fewer among the"
        raise _best_error(best, f"{wrong} {count:,} that are used", "more real images")
    classes = config.model.num_classes
    of_class = np.bincount(labels, minlength=classes)
    if config.data.class_sampling == "uniform":
        of_class = np.minimum(of_class, np.bincount(np.arange(settings.num_samples) % classes, minlength=classes))
    if best == "intra_class_frechet" and of_class.max() < FEWEST_WITHIN_A_CLASS:
        wrong = f"needs a class with at least {FEWEST_WITHIN_A_CLASS} real and as many generated images"
        raise _best_error(best, wrong, "raise eval.num_samples and eval.num_real")


def _best_error(best: str, problem: str, otherwise: str = "") -> InputError:
    remedy = f"use 'frechet', or {otherwise}" if otherwise else "use 'frechet'"
    return InputError(problem, field="eval.best", value=best, remedy=remedy)


class Evaluator:
    """Scores a run's averaged generator against real images, always with the same latents.

    Args:
      config: of the run.
      comparison: from `open_comparison`.
      sampler: for the run's generator.
      writer: where scores and pictures go.
      mesh: the devices.
    """

    def __init__(self, config: ConfigDict, comparison: Comparison, sampler: Sampler, writer: RunWriter, mesh: Mesh):
        start, settings = time.perf_counter(), config.eval
        self._config, self._sampler, self._writer, self._mesh = config, sampler, writer, mesh
        self._extractor, images, self._labelled, opening = comparison
        batch_size, count = config.sampling.batch_size, settings.num_real or None
        self._real = real_images(self._extractor, images, count, batch_size, settings.cache_dir, mesh)
        self._protocol = f"{self._extractor.identity} of {settings.num_samples} samples, {self._real.facts}"
        measure = f"{settings.best} in {self._protocol}"
        self._best = BestCheckpoint(writer.workdir / BEST, measure, lower_is_better=KINDS[settings.best])
        self._started, self._seconds = start - opening, opening + time.perf_counter() - start

    def evaluated(self, step: int) -> bool:
        """Returns whether there are scores of a step by this protocol."""
        return self._file(step).exists()

    def evaluate(self, step: int, state: TrainState, variables: Tree) -> Evaluation:
        """Scores frozen variables, writes what came out, and keeps the state if it is the best so far."""
        start = time.perf_counter()
        count = self._config.eval.num_samples
        generated = generated_images(self._sampler, variables, count, self._config.seed, labelled=self._labelled)
        generated.facts.update(run=str(self._writer.workdir), step=step)
        evaluation, fake = compare(self._extractor, self._real, generated, self._mesh)
        images, _ = next(generated.batches())
        sheet = neighbour_sheet(self._real, fake, images[:SHOWN_SAMPLES], f"step {step:,}")
        if sheet is not None:
            self._writer.write_image(step, NEIGHBOURS, sheet)
        now = time.perf_counter()
        fraction = (self._seconds + now - start) / (now - self._started)
        values = {f"eval/{name}": value for name, value in evaluation.values.items()}
        self._writer.write_scalars_once(step, values | {"eval/fraction_of_time": fraction})
        self._writer.write_texts(step, {"eval/protocol": json.dumps(evaluation.protocol, indent=2)})
        info(f"step {step:,}: scores of {count:,} samples")
        info("\n".join(evaluation.lines()))
        info(f"  evaluation took {fraction:.1%} of the time so far")
        self._keep_if_best(step, state, evaluation)
        # The last, so that what is written before is made again if the run dies here.
        write_or_warn(self._file(step), evaluation.encoded())
        self._seconds += time.perf_counter() - start
        return evaluation

    def _keep_if_best(self, step: int, state: TrainState, evaluation: Evaluation) -> None:
        best = self._config.eval.best
        score = evaluation.value_of(best)
        if score is None:
            info(f"  note: eval.best = {best!r} could not be measured, so this step is not compared with others")
        elif self._best.save_if_better(step, state, score):
            info(f"  the best {best} so far: the state is kept in {self._best.folder}")

    def _file(self, step: int) -> epath.Path:
        return evaluation_file(self._writer.workdir, step, self._extractor.name, self._protocol)

    def close(self) -> None:
        """Releases the folder of the best checkpoint."""
        self._best.close()


def generated_images(
    sampler: Sampler, variables: Tree, count: int, seed: int, *, labelled: bool, truncation: float = math.inf
) -> Generated:
    """Samples for an evaluation; the first n are the same for every count >= n.

    Args:
      sampler: for the generator.
      variables: frozen.
      count: number of images.
      seed: of the latents.
      labelled: whether the classes are those of the real images.
      truncation: latents beyond it are drawn again; infinite: none are.
    """
    latents = sampler.latents(count, stream_key(seed, "evaluation"), truncation)
    labels = sampler.balanced_labels(count, seed)

    def batches() -> Batches:
        done = 0
        for images in sampler.batches(variables, latents, labels):
            yield images, labels[done : done + len(images)]
            done += len(images)

    facts: dict[str, Any] = {
        "weights": "averaged",
        "standing_statistics": f"{sampler.standing_batches} batches of {sampler.batch_size}",
        "classes": "as in the data" if sampler.prior.class_frequencies else "equally many of each",
        "seed": seed,
        "truncation": "none" if math.isinf(truncation) else truncation,
        "pixels": "uint8",
    }
    return Generated(batches, count, facts, labelled)


def evaluation_file(workdir: epath.Path, step: int, features: str, asked: Any) -> epath.Path:
    """Returns the file of the scores of a step; `features` and `asked` as for `result_name`."""
    return workdir / EVALUATIONS / f"{step_name(step)}-{result_name(features, asked)}"


def check_evaluation(config: ConfigDict) -> None:
    """Raises InputError if `config.eval` names something that does not exist."""
    settings = config.eval
    if not settings.features:
        return
    try:
        check_extractor(settings.features, settings.resize)
    except InputError as error:
        raise error.renamed(f"eval.{error.field}") from error
    if settings.best not in KINDS:
        raise InputError("is unknown", field="eval.best", value=settings.best, remedy=f"choose from {', '.join(KINDS)}")
    needed = {"spatial_frechet": ("inception2015",), "inception_score": ("inception2015", *CLASSIFIERS)}
    if settings.features.removesuffix(":2048") not in needed.get(settings.best, NAMES):
        wrong = f"cannot be measured with {settings.features}"
        raise _best_error(settings.best, wrong, "eval.features='inception2015'")
    few = "is too few to compare"
    if settings.num_real == 1:
        raise InputError(few, field="eval.num_real", value=1, remedy="use thousands, or 0 for all")
    if settings.num_samples < 2:
        raise InputError(few, field="eval.num_samples", value=settings.num_samples, remedy="use thousands")
