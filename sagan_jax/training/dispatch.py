"""How steps reach the devices: compiled as one program, several to a call."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from sagan_jax.data.batch import Batch
from sagan_jax.data.residency import real_batch
from sagan_jax.runtime.busy import busy
from sagan_jax.runtime.programs import kept
from sagan_jax.runtime.sharding import batch_sharding, replicate, replicated, shard_batch
from sagan_jax.training.creation import abstract_state
from sagan_jax.training.state import TrainState
from sagan_jax.training.step import train_step
from sagan_jax.training.step_config import TrainStepConfig
from sagan_jax.training.update import Metrics, loop

StepsFunction = Callable[[TrainState, Batch | None, Sequence[Any], jax.Array], tuple[TrainState, Metrics]]


@kept
def compile_steps(step_config: TrainStepConfig, mesh: Mesh, resolution: int) -> StepsFunction:
    """Compiles `train_step` over the mesh, once for each of some inputs: state donated, batches sharded.

    The function takes the state, `Feed.resident`, the inputs of some steps from `Feed.inputs` and the run's key; it
    returns the state after these steps and their mean metrics. Each number of steps is a program of its own.
    """
    state_places = jax.tree.map(lambda x: x.sharding, abstract_state(step_config, mesh))
    step_config = dataclasses.replace(
        step_config, shard_batch=functools.partial(shard_batch, mesh), replicate=functools.partial(replicate, mesh)
    )

    def steps(
        state: TrainState, resident: Batch | None, inputs: Sequence[Any], key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        def step(state: TrainState, inputs: Any) -> tuple[TrainState, Metrics]:
            return train_step(step_config, state, real_batch(resident, inputs, resolution), key)

        stacked = jax.tree.map(lambda *each: jnp.stack(each), *inputs)
        state, metrics = loop(step, state, stacked, unroll=step_config.unroll)
        return state, jax.tree.map(lambda values: jnp.mean(values, axis=0), metrics)

    whole = replicated(mesh)
    return jax.jit(
        steps,
        donate_argnums=0,
        in_shardings=(state_places, whole, batch_sharding(mesh), whole),
        out_shardings=(state_places, whole),
    )


class CompiledSteps:
    """Compiles a program before it is called first, and says so; so that its first call takes no longer than others.

    Args:
      take_steps: from `compile_steps`.
    """

    def __init__(self, take_steps: Any):
        self._take_steps = take_steps
        self._lengths: set[int] = set()  # numbers of steps for which there is a program

    def compile(self, state: TrainState, resident: Batch | None, inputs: Sequence[Any], key: jax.Array) -> None:
        """Compiles the program for such inputs, if that has not been done."""
        steps = len(inputs)
        if steps not in self._lengths:
            with busy("compiling the step" if steps == 1 else f"compiling {steps} steps"):
                self._take_steps.lower(state, resident, inputs, key).compile()
            self._lengths.add(steps)

    def __call__(
        self, state: TrainState, resident: Batch | None, inputs: Sequence[Any], key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        """Takes the steps."""
        self.compile(state, resident, inputs, key)
        return self._take_steps(state, resident, inputs, key)


def call_lengths(first_step: int, last_step: int, steps_per_call: int, intervals: Sequence[int]) -> Iterator[int]:
    """Yields the number of steps of each call from `first_step` to `last_step`.

    At most `steps_per_call`, and fewer where something is due before, every so many steps as one of the `intervals`
    says (0: never).
    """
    step = first_step
    while step < last_step:
        due = [every - step % every for every in (steps_per_call, *intervals) if every]
        length = min(*due, last_step - step)
        yield length
        step += length
