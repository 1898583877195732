"""A whole run: set up or resume, train, save, show, measure."""

import contextlib
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
from etils import epath
from ml_collections import ConfigDict

from sagan_jax.data.pipeline import Pipeline
from sagan_jax.data.residency import check_residency, open_feed
from sagan_jax.data.source import ImageSource, class_frequencies
from sagan_jax.errors import DivergedError, StoppedError
from sagan_jax.runtime.checkpoint import Checkpoints
from sagan_jax.runtime.interruption import StopRequest, stopped
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.timing import Progress, Throughput
from sagan_jax.runtime.watchdog import Watchdog
from sagan_jax.runtime.workdir import CHECKPOINTS, METRICS_FILE
from sagan_jax.runtime.workdir_access import open_workdir
from sagan_jax.runtime.writer import MetricWriter, open_writer
from sagan_jax.sampling.sampler import Sampler
from sagan_jax.training.announcement import announce
from sagan_jax.training.continuation import check_continuation, initial_state
from sagan_jax.training.dispatch import StepsFunction, call_lengths, compile_steps
from sagan_jax.training.divergence import Rollbacks, check_weights
from sagan_jax.training.evaluation import Evaluator, open_comparison
from sagan_jax.training.gallery import Gallery
from sagan_jax.training.losses import AdversarialLoss, Penalty
from sagan_jax.training.networks import Networks
from sagan_jax.training.parts import NO_PARTS, Parts, check_parts, open_data
from sagan_jax.training.reports import Reports
from sagan_jax.training.run import Run, Summary
from sagan_jax.training.state import TrainState
from sagan_jax.training.step_config import build_step_config
from sagan_jax.training.validation import validate_config


def train_and_evaluate(
    config: ConfigDict,
    workdir: epath.PathLike,
    *,
    source: ImageSource | None = None,
    networks: Networks | None = None,
    loss: AdversarialLoss | None = None,
    penalties: Sequence[Penalty] = (),
    writers: Sequence[MetricWriter] = (),
) -> tuple[TrainState, Summary]:
    """Trains as configured, or continues the run that `workdir` holds.

    It may be called several times in a process, and from any thread; from the main thread, SIGTERM and Ctrl-C stop it.

    Args:
      config: every field of `default_config`.
      workdir: folder for checkpoints, metrics and pictures.
      source: the images, in place of those that `config.data` names.
      networks: in place of those that `config.model` describes: a Generator and a Discriminator for the resolution and
        the classes of the data, with other module definitions as their fields, or subclasses. `sagan_jax.load` needs
        them too.
      loss: in place of `config.train.loss`.
      penalties: added to the losses.
      writers: receive metrics, pictures and texts too; closed at the end.

    Returns:
      the state after the last step, and what the run has made.

    Raises:
      InputError: the input cannot work; said before anything is compiled or overwritten, unless it is an
        image that cannot be read.
      DivergedError: a network has diverged, and going back is not wanted or did not help.
      FailedError: the last state cannot be saved.
      StoppedError: the run was asked to stop, and everything is saved.
    """
    with contextlib.ExitStack() as opened:
        request = opened.enter_context(StopRequest())
        validate_config(config)
        parts = Parts(source, networks, loss, tuple(penalties), writers)
        check_parts(parts, config)
        watchdog = opened.enter_context(Watchdog(config.faults.hang_seconds))
        folder = opened.enter_context(open_workdir(workdir))
        run, state = prepare(config, folder, parts)
        opened.callback(run.close)
        state = train(run, state, request, watchdog)
        return state, finish(run, state)


def prepare(config: ConfigDict, folder: epath.Path, parts: Parts = NO_PARTS) -> tuple[Run, TrainState]:
    """Opens everything a run needs and makes or restores its state.

    Args:
      config: valid.
      folder: from `open_workdir`.
      parts: that the caller gives.
    """
    config, source = open_data(config, parts)
    check_residency(config, source)
    pipeline, comparison = Pipeline(config, source), open_comparison(config, source)

    settings = config.checkpoint
    checkpoints = Checkpoints(folder / CHECKPOINTS, settings.keep, settings.keep_every_steps)
    check_continuation(config, source, folder, checkpoints.newest_step())
    mesh = make_mesh(fsdp=config.mesh.fsdp)
    step_config = build_step_config(config, class_frequencies(config, source), parts)
    state = initial_state(config, step_config, mesh, checkpoints)
    writer = open_writer(folder, int(state.step), parts.writers)
    announce(config, source, mesh, state, writer)
    feed = open_feed(config, pipeline, mesh)

    sampler = Sampler(step_config.networks.generator, step_config.prior, mesh, **config.sampling)
    gallery = Gallery(config, source, sampler, step_config.networks.discriminator, writer)
    gallery.draw_real()
    evaluator = Evaluator(config, comparison, sampler, writer, mesh) if comparison else None
    return Run(config, folder, source, feed, step_config, checkpoints, sampler, gallery, evaluator, writer), state


def train(run: Run, state: TrainState, request: StopRequest, watchdog: Watchdog) -> TrainState:
    """Takes the steps that are left, from the first not yet taken to `train.steps`; goes back where that is wanted.

    Raises:
      DivergedError: see `train_and_evaluate`.
      StoppedError: likewise.
      FailedError: likewise.
    """
    config, mesh = run.config, run.feed.mesh
    step = int(state.step)
    if request.reached():
        raise stopped()
    if 0 < step < config.train.steps:
        show(run, step, state, only_missing=True)
    take_steps = compile_steps(run.step_config, mesh, config.data.resolution)
    rollbacks = Rollbacks(run.folder, run.checkpoints.newest_step())
    while True:
        try:
            with request.steps(), watchdog.steps():
                return take_remaining_steps(run, state, take_steps, rollbacks.key(config.seed), request, watchdog)
        except DivergedError as error:
            run.checkpoints.look_for_failure(wait=True)
            rollbacks.go_back(config, error, run.checkpoints.newest_step())
            state = initial_state(config, run.step_config, mesh, run.checkpoints)
            run.writer.rewind(int(state.step))


def take_remaining_steps(
    run: Run,
    state: TrainState,
    take_steps: StepsFunction,
    key: jax.Array,
    request: StopRequest,
    watchdog: Watchdog,
) -> TrainState:
    """Trains without going back: a run that diverges saves its state and raises."""
    config, total = run.config, run.config.train.steps
    step = int(state.step)
    throughput = Throughput(config.train.batch_size * config.train.discriminator_updates)
    inputs = run.feed.inputs(step, total)
    pictures_or_scores = (config.log.pictures_every_steps, config.eval.every_steps)
    intervals = (config.log.every_steps, config.checkpoint.every_steps, *pictures_or_scores)

    with Progress(step, total) as progress:
        reports = Reports(run.writer, throughput, progress, config.faults.largest_loss)
        for length in call_lengths(step, total, config.train.steps_per_call, intervals):
            with throughput.waiting_for_data(idle=functools.partial(is_finished, state)):
                call_inputs = tuple(itertools.islice(inputs, length))
            state, metrics = take_steps(state, run.feed.resident, call_inputs, key)
            step += length
            reports.note(step, metrics)
            with run.save_if_diverged(step, state):
                reports.flush()  # while the devices are busy with the next steps
            if throughput.paused:
                jax.block_until_ready(metrics)  # so that compilation and pauses are not counted
            throughput.count_steps(length)
            progress.advance(length)
            watchdog.heartbeat()

            last, stopping, due = step == total, request.reached(), functools.partial(is_due, step=step)
            if last or due(config.log.every_steps):
                reports.add(step, metrics)
                run.checkpoints.look_for_failure()
            save = last or stopping or due(config.checkpoint.every_steps)
            save = save or due(config.eval.every_steps)  # scoring may take longer than the grace of a preemption
            save = save or (run.checkpoints.failed and due(config.log.every_steps))
            pause = save or any(map(due, pictures_or_scores))
            if pause:
                with run.save_if_diverged(step, state):
                    reports.flush()
                    reports.check(step)
                    if save:
                        check_weights(step, state)
            if save:
                run.save(step, state, wait=last or stopping)
            if stopping:
                raise StoppedError(f"stopped and saved after step {step:,} of {total:,}: run the same again to go on")
            if pause and not last:
                watchdog.allow_pause()
                show(run, step, state)
                watchdog.heartbeat()
            if pause:
                throughput.pause()
    return state


def is_due(every_steps: int, step: int) -> bool:
    """Returns whether something that happens every so many steps happens after this one; 0 is never."""
    return every_steps > 0 and step % every_steps == 0


def show(run: Run, step: int, state: TrainState, *, only_missing: bool = False) -> None:
    """Draws and scores the generator, whatever is due; or of this what is missing, after a run was cut off here."""
    config = run.config
    draw = is_due(config.log.pictures_every_steps, step) and not (only_missing and run.gallery.drawn(step))
    evaluator = run.evaluator if is_due(config.eval.every_steps, step) else None
    if evaluator and only_missing and evaluator.evaluated(step):
        evaluator = None
    if not (draw or evaluator):
        return
    variables = run.gallery.freeze(state)
    if draw:
        run.gallery.draw(step, state, variables)
    if evaluator:
        evaluator.evaluate(step, state, variables)


def is_finished(state: TrainState) -> bool:
    """Returns whether the devices have taken all steps up to this state."""
    step: Any = state.step
    return bool(step.is_ready())


def finish(run: Run, state: TrainState) -> Summary:
    """Draws and scores the trained generator, and prints where everything is."""
    step, variables = int(state.step), run.gallery.freeze(state)
    samples, attention = run.gallery.draw(step, state, variables)
    print(f"\nfinished {step:,} steps")
    print(f"  samples    {samples}\n  attention  {attention}\n  metrics    {run.folder / METRICS_FILE}", flush=True)
    evaluation = run.evaluator.evaluate(step, state, variables) if run.evaluator else None
    return Summary(step, run.folder, samples, attention, evaluation)
