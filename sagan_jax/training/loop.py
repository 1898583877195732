"""A whole run: set up or resumed, trained, and finished with pictures and scores."""

import contextlib
from collections.abc import Sequence

import jax
from etils import epath
from ml_collections import ConfigDict

from sagan_jax.data.holdout import hold_out
from sagan_jax.data.pipeline import Pipeline
from sagan_jax.data.residency import check_residency, open_feed
from sagan_jax.data.source import ImageSource, class_frequencies
from sagan_jax.objectives.losses import AdversarialLoss
from sagan_jax.objectives.penalty import Penalty
from sagan_jax.runtime.busy import busy
from sagan_jax.runtime.checkpoint import Checkpoints
from sagan_jax.runtime.compilation_cache import enable_compilation_cache
from sagan_jax.runtime.interruption import StopRequest
from sagan_jax.runtime.jax_settings import check_settings_of_jax
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.watchdog import Watchdog
from sagan_jax.runtime.workdir import CHECKPOINTS, METRICS_FILE
from sagan_jax.runtime.workdir_access import open_workdir
from sagan_jax.runtime.writer import MetricWriter, open_writer
from sagan_jax.sampling.sampler import Sampler
from sagan_jax.training.advice import Adviser
from sagan_jax.training.announcement import announce_data, announce_devices, announce_networks
from sagan_jax.training.continuation import check_continuation, initial_state
from sagan_jax.training.evaluation import Evaluator, open_comparison
from sagan_jax.training.gallery import Gallery
from sagan_jax.training.networks import Networks
from sagan_jax.training.parts import NO_PARTS, Parts, check_parts, open_data
from sagan_jax.training.run import Run, Summary
from sagan_jax.training.signals import Signals
from sagan_jax.training.state import TrainState
from sagan_jax.training.step_config import build_step_config
from sagan_jax.training.steps import train
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

    It may be called several times in a process, and from any thread; from the main thread, SIGTERM, SIGHUP and Ctrl-C
    stop it. Compiled programs are kept in ~/.cache/sagan_jax, unless JAX's own setting names another folder.

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
        check_settings_of_jax()
        enable_compilation_cache()
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
    """Opens everything a run needs and makes or restores its state; says what it finds as soon as it is known.

    Args:
      config: valid.
      folder: from `open_workdir`.
      parts: that the caller gives.
    """
    mesh = make_mesh(fsdp=config.mesh.fsdp)
    announce_devices(mesh)
    config, source = open_data(config, parts)
    split = hold_out(source, config.data.holdout)
    check_residency(config, split.training)
    announce_data(config, source)
    pipeline = Pipeline(config, split.training)
    with busy("opening what samples are compared with"):
        comparison = open_comparison(config, source)
    step_config = build_step_config(config, class_frequencies(config, source), parts)

    settings = config.checkpoint
    checkpoints = Checkpoints(folder / CHECKPOINTS, settings.keep, settings.keep_every_steps)
    check_continuation(config, source, folder, checkpoints.newest_step())
    with busy("making the networks" if checkpoints.newest_step() is None else "restoring the networks"):
        state = jax.block_until_ready(initial_state(config, step_config, mesh, checkpoints))
    writer = open_writer(folder, int(state.step), parts.writers)
    announce_networks(config, source, state, writer)
    feed = open_feed(config, pipeline, mesh)

    sampler = Sampler(step_config.networks.generator, step_config.prior, mesh, **config.sampling)
    signals = Signals(step_config, split, mesh, conditional=pipeline.conditional)
    adviser = Adviser()
    gallery = Gallery(config, source, sampler, step_config.networks.discriminator, signals, adviser, writer)
    gallery.draw_real()
    with busy("reading the real images that samples are compared with"):
        evaluator = Evaluator(config, comparison, sampler, writer, mesh) if comparison else None
    return Run(
        config, folder, source, feed, step_config, checkpoints, sampler, gallery, signals, adviser, evaluator, writer
    ), state


def finish(run: Run, state: TrainState) -> Summary:
    """Draws and scores the trained generator, and prints where everything is."""
    step = int(state.step)
    with busy("measuring the batch norm of the averaged generator"):
        variables = jax.block_until_ready(run.gallery.freeze(state))
    with busy("drawing samples and attention"):
        samples, attention = run.gallery.draw(step, state, variables)
    print(f"\nfinished {step:,} steps")
    print(f"  samples    {samples}\n  attention  {attention}\n  metrics    {run.folder / METRICS_FILE}", flush=True)
    evaluation = run.evaluator.evaluate(step, state, variables) if run.evaluator else None
    return Summary(step, run.folder, samples, attention, evaluation)
