"""A whole run: set up or resume, train, save, show, measure."""

import dataclasses
import functools
import itertools
import math
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sagan_jax.data.pipeline import Pipeline, resolve_num_classes
from sagan_jax.data.residency import Feed, check_residency, open_feed
from sagan_jax.data.source import ImageSource, ImageStream, class_frequencies, open_source
from sagan_jax.errors import InputError
from sagan_jax.runtime.checkpoint import Checkpoints
from sagan_jax.runtime.randomness import stream
from sagan_jax.runtime.sharding import make_mesh, replicated
from sagan_jax.runtime.timing import Progress, Throughput
from sagan_jax.runtime.workdir import check_settings, open_workdir, save_settings
from sagan_jax.runtime.writer import RunWriter
from sagan_jax.training.announcement import announce
from sagan_jax.training.dispatch import call_lengths, compile_steps
from sagan_jax.training.evaluation import Evaluator, open_comparison
from sagan_jax.training.gallery import Gallery
from sagan_jax.training.sampling import Sampler
from sagan_jax.training.state import TrainState, create_state
from sagan_jax.training.step import Metrics, Recipe, build_recipe
from sagan_jax.training.validation import free_fields, validate_config

SHOWN = ("d_loss", "g_loss", "real_logits", "fake_logits", "d_accuracy")  # on the terminal, with the gammas


class DivergedError(RuntimeError):
    """A loss or a gradient is no longer a finite number."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays the same while a run's state moves; `config.model.num_classes` is known here."""

    config: ConfigDict
    source: ImageSource | ImageStream
    feed: Feed
    recipe: Recipe
    checkpoints: Checkpoints
    sampler: Sampler
    gallery: Gallery
    evaluator: Evaluator | None
    writer: RunWriter


def train_and_evaluate(config: ConfigDict, workdir: str) -> None:
    """Trains as configured, or continues the run that `workdir` holds.

    Args:
      config: every field of `default_config`.
      workdir: folder for checkpoints, metrics and pictures.

    Raises:
      InputError: the input cannot work; said before anything is compiled or overwritten, unless it is an
        image that cannot be read.
      DivergedError: a loss or a gradient is not finite; nothing is saved from then on.
    """
    run, state = prepare(config, workdir)
    try:
        state = train(run, state)
        finish(run, state)
    finally:
        run.checkpoints.close()
        if run.evaluator:
            run.evaluator.close()
        run.writer.close()


def prepare(config: ConfigDict, workdir: str) -> tuple[Run, TrainState]:
    """Checks all input, then opens everything a run needs and makes or restores its state."""
    validate_config(config)
    folder = open_workdir(workdir)
    source = open_source(config)
    config = config.copy_and_resolve_references()
    config.model.num_classes = resolve_num_classes(config, source)
    check_residency(config, source)
    pipeline, comparison = Pipeline(config, source), open_comparison(config, source)

    settings = config.checkpoint
    checkpoints = Checkpoints(folder / "checkpoints", settings.keep, settings.keep_every_steps)
    check_continuation(config, source, folder, checkpoints.newest_step())
    mesh, recipe = make_mesh(), build_recipe(config, class_frequencies(config, source))
    state = initial_state(config, recipe, mesh, checkpoints)
    announce(config, source, mesh, state, folder)
    feed = open_feed(config, pipeline, mesh)

    sampler = Sampler(recipe.networks.generator, recipe.prior, mesh, **config.sampling)
    writer = RunWriter(folder, int(state.step))
    gallery = Gallery(config, source, sampler, writer)
    gallery.draw_real()
    evaluator = Evaluator(config, comparison, sampler, writer, mesh) if comparison else None
    return Run(config, source, feed, recipe, checkpoints, sampler, gallery, evaluator, writer), state


def check_continuation(config: ConfigDict, source: ImageSource | ImageStream, folder: Path, saved: int | None) -> None:
    """Writes the run's settings, unless it is to continue (from step `saved`) a run with other ones.

    Raises:
      InputError: something that the weights depend on differs.
    """
    data = {"name": source.name, "num_images": len(source), "class_names": list(source.class_names)}
    if saved is not None:
        check_settings(folder, "data.json", {"data": data}, free=())
        check_settings(folder, "config.json", config.to_dict(), free_fields(config))
        if saved > config.train.steps:
            raise InputError(
                f"train.steps = {config.train.steps}, but the run in {folder} has taken {saved} steps already:"
                " ask for at least as many, or start a new run with another --workdir."
            )
    save_settings(folder, "data.json", {"data": data})
    save_settings(folder, "config.json", config.to_dict())


def initial_state(config: ConfigDict, recipe: Recipe, mesh: Mesh, checkpoints: Checkpoints) -> TrainState:
    """The newest saved state, or a fresh one where nothing is saved; on all devices of the mesh."""
    fresh = functools.partial(create_state, recipe.networks, recipe.optimizers, recipe.prior)
    create = jax.jit(fresh, out_shardings=replicated(mesh))
    key = stream(config.seed, "initial weights")
    newest = checkpoints.newest_step()
    if newest is None:
        return create(key)
    return checkpoints.restore(newest, like=create.eval_shape(key), sharding=replicated(mesh))


def train(run: Run, state: TrainState) -> TrainState:
    """Takes the steps that are left, from the first not yet taken to `train.steps`."""
    config, total = run.config, run.config.train.steps
    step = int(state.step)
    take_steps = compile_steps(run.recipe, run.feed.mesh, config.data.resolution)
    key = stream(config.seed, "train")
    throughput = Throughput(config.train.batch_size * config.train.discriminator_updates)
    progress = Progress(step, total)
    inputs = run.feed.inputs(step, total)
    pictures_or_scores = (config.log.pictures_every_steps, config.eval.every_steps)
    intervals = (config.log.every_steps, config.checkpoint.every_steps, *pictures_or_scores)
    unreported: tuple[int, Metrics] | None = None

    for length in call_lengths(step, total, config.train.steps_per_call, intervals):
        with throughput.waiting_for_data(idle=functools.partial(is_finished, state)):
            call_inputs = tuple(itertools.islice(inputs, length))
        state, metrics = take_steps(state, run.feed.resident, call_inputs, key)
        step += length
        if unreported:  # while the devices are busy with the next steps
            report(run, *unreported, throughput, progress)
            unreported = None
        if throughput.paused:
            jax.block_until_ready(metrics)  # so that compilation and pauses are not counted
        throughput.count_steps(length)
        progress.advance(length)

        last = step == total
        save = last or is_due(config.checkpoint.every_steps, step)
        stop = save or any(is_due(every, step) for every in pictures_or_scores)
        if last or is_due(config.log.every_steps, step):
            unreported = (step, metrics)
        if stop and unreported:
            report(run, *unreported, throughput, progress)
            unreported = None
        if save:
            check_finite(run, step, metrics)
            run.checkpoints.save(step, state)
        if stop and not last:
            show(run, step, state)
        if stop:
            throughput.pause()
    progress.close()
    return state


def is_due(every_steps: int, step: int) -> bool:
    """Whether something that happens every so many steps happens after this one; 0 is never."""
    return every_steps > 0 and step % every_steps == 0


def show(run: Run, step: int, state: TrainState) -> None:
    """Draws and scores the generator, whatever is due."""
    variables = run.gallery.freeze(state)
    if is_due(run.config.log.pictures_every_steps, step):
        run.gallery.draw(step, variables)
    if run.evaluator and is_due(run.config.eval.every_steps, step):
        run.evaluator.evaluate(step, state, variables)


def is_finished(state: TrainState) -> bool:
    """Whether the devices have taken all steps up to this state."""
    step: Any = state.step
    return bool(step.is_ready())


def report(run: Run, step: int, metrics: Metrics, throughput: Throughput, progress: Progress) -> None:
    """Fetches the metrics of a step, which waits for the devices, and writes and shows them."""
    values = check_finite(run, step, metrics)
    speed = throughput.report()
    run.writer.scalars(step, values | speed)
    shown = {name: value for name, value in values.items() if name in SHOWN or "gamma" in name}
    progress.report(step, shown, speed)


def check_finite(run: Run, step: int, metrics: Metrics) -> dict[str, float]:
    """The metrics as numbers. Raises DivergedError, before anything is saved, if one is not finite."""
    values = {name: float(value) for name, value in jax.device_get(metrics).items()}
    for name, value in values.items():
        if not math.isfinite(value):
            saved = run.checkpoints.newest_step()
            kept = "nothing was saved yet" if saved is None else f"the newest checkpoint is that of step {saved}"
            raise DivergedError(
                f"{name} is {value} at step {step} ({kept}):"
                " start again in another --workdir with lower learning rates or model.compute_dtype=float32."
            )
    return values


def finish(run: Run, state: TrainState) -> None:
    """Draws and measures the trained generator, and says where everything is."""
    step, variables = int(state.step), run.gallery.freeze(state)
    samples, attention = run.gallery.draw(step, variables)
    print(f"\nfinished {step:,} steps")
    print(f"  samples    {samples}\n  attention  {attention}\n  metrics    {run.writer.metrics_file}", flush=True)
    if run.evaluator:
        run.evaluator.evaluate(step, state, variables)
