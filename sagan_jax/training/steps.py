"""The steps of a run: taken, reported, saved and shown, from the first not yet taken to the last."""

import functools
import itertools
import time
from collections.abc import Iterator
from typing import Any

import jax

from sagan_jax.errors import DivergedError, StoppedError
from sagan_jax.runtime.busy import busy
from sagan_jax.runtime.interruption import StopRequest, stopped
from sagan_jax.runtime.timing import Progress, Throughput, format_duration, info
from sagan_jax.runtime.watchdog import Watchdog
from sagan_jax.training.continuation import initial_state
from sagan_jax.training.dispatch import CompiledSteps, call_lengths, compile_steps
from sagan_jax.training.divergence import Rollbacks, check_weights
from sagan_jax.training.reports import Reports
from sagan_jax.training.run import Run
from sagan_jax.training.state import TrainState


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
    run.signals.accuracies(state)  # compiles what measures them, before the clock runs
    take_steps = CompiledSteps(compile_steps(run.step_config, mesh, config.data.resolution))
    rollbacks = Rollbacks(run.folder, run.checkpoints.newest_step())
    while True:
        try:
            with request.steps(), watchdog.steps():
                return take_remaining_steps(run, state, take_steps, rollbacks.key(config.seed), request, watchdog)
        except DivergedError as error:
            run.checkpoints.look_for_failure(wait=True)
            saved = run.checkpoints.newest_regular_step()  # to which a run that was never stopped would go back
            rollbacks.check(config, error, saved)
            run.checkpoints.drop_stop()
            rollbacks.go_back(config, error, saved)
            state = initial_state(config, run.step_config, mesh, run.checkpoints)
            run.writer.rewind(int(state.step))


def take_remaining_steps(
    run: Run,
    state: TrainState,
    take_steps: CompiledSteps,
    key: jax.Array,
    request: StopRequest,
    watchdog: Watchdog,
) -> TrainState:
    """Trains without going back: a run that diverges saves its state and raises."""
    config, total, step = run.config, run.config.train.steps, int(state.step)
    throughput = Throughput(config.train.batch_size * config.train.discriminator_updates)
    shown = (config.log.pictures_every_steps, config.eval.every_steps)
    intervals = (config.log.every_steps, config.checkpoint.every_steps, *shown)
    lengths = functools.partial(call_lengths, step, total, config.train.steps_per_call, intervals)
    inputs = inputs_once_compiled(run, state, take_steps, key, next(lengths(), 0), request)

    with Progress(step, total) as progress:
        reports = Reports(run.writer, throughput, progress, run.adviser, config, run.notes(step))
        began = time.perf_counter()
        for number, length in enumerate(lengths()):
            with throughput.waiting_for_data(idle=functools.partial(is_finished, state)):
                call_inputs = tuple(itertools.islice(inputs, length))
            state, metrics = take_steps(state, run.feed.resident, call_inputs, key)
            step += length
            reports.note(step, length, metrics)
            with run.save_if_diverged(step, state):
                reports.flush()  # while the devices are busy with the next steps
            if throughput.paused:
                jax.block_until_ready(metrics)  # so that compilation and pauses are not counted
            if not number:
                info(pace(time.perf_counter() - began, length, total - step))
            throughput.count_steps(length)
            progress.advance(length)
            watchdog.heartbeat()

            last, stopping, due = step == total, request.reached(), functools.partial(is_due, step=step)
            if last or due(config.log.every_steps):
                reports.end_interval(step, run.signals.accuracies(state), early=not due(config.log.every_steps))
                run.checkpoints.look_for_failure()
            # Before scoring too, which may take longer than the grace of a preemption.
            regular = last or any(map(due, (config.checkpoint.every_steps, config.eval.every_steps)))
            save = regular or stopping or (run.checkpoints.failed and due(config.log.every_steps))
            pause = save or any(map(due, shown))
            if pause:
                with run.save_if_diverged(step, state):
                    reports.flush()
                    reports.check(step)
                    if save:
                        check_weights(step, state)
            if save:
                run.save(step, state, reports.notes(), wait=last or stopping, stop=not regular)
            if stopping:
                raise StoppedError(f"stopped and saved after step {step:,} of {total:,}: run the same again to go on")
            if pause:
                if not last:
                    watchdog.allow_pause()
                    show(run, step, state)
                    watchdog.heartbeat()
                throughput.pause()
    return state


def inputs_once_compiled(
    run: Run,
    state: TrainState,
    take_steps: CompiledSteps,
    key: jax.Array,
    length: int,
    request: StopRequest,
) -> Iterator[Any]:
    """Returns the inputs of the steps that are left, once the first call's program, of `length` steps, is compiled.

    A signal meanwhile stops the run where it is: the state is a saved one, or a fresh one.
    """
    inputs = run.feed.inputs(int(state.step), run.config.train.steps)
    if not length:
        return inputs
    with request.nothing_to_save():
        first = tuple(itertools.islice(inputs, length))
        take_steps.compile(state, run.feed.resident, first, key)
    if request.reached():
        raise stopped()
    return itertools.chain(first, inputs)


def pace(seconds: float, steps: int, left: int) -> str:
    """Returns what the first steps say about the time that the run takes."""
    first = "the first step" if steps == 1 else f"the first {steps} steps"
    rest = f": at this pace {format_duration(seconds / steps * left)} for the {left:,} left, pictures and scores aside"
    return f"{first} took {seconds:.2g} s" + (rest if left else "")


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
    with busy("measuring the batch norm of the averaged generator"):
        variables = jax.block_until_ready(run.gallery.freeze(state))
    if draw:
        with busy("drawing samples and attention"):
            run.gallery.draw(step, state, variables)
    if evaluator:
        evaluator.evaluate(step, state, variables)


def is_finished(state: TrainState) -> bool:
    """Returns whether the devices have taken all steps up to this state."""
    step: Any = state.step
    return bool(step.is_ready())
