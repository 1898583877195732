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
from sagan_jax.runtime.sharding import batch_sharding, replicated, spread
from sagan_jax.training.accumulation import loop
from sagan_jax.training.state import TrainState
from sagan_jax.training.step import Metrics, Recipe, train_step

StepsFunction = Callable[[TrainState, Batch | None, Sequence[Any], jax.Array], tuple[TrainState, Metrics]]


def compile_steps(recipe: Recipe, mesh: Mesh, resolution: int) -> StepsFunction:
    """`train_step` over the mesh, once for each of some inputs: state on every device and donated, batches spread.

    The function takes the state, `Feed.resident`, the inputs of some steps from `Feed.inputs` and the run's key; it
    returns the state after these steps and the metrics of the last. Each number of steps is a program of its own.
    """
    recipe = dataclasses.replace(recipe, spread=functools.partial(spread, mesh))

    def steps(
        state: TrainState, resident: Batch | None, inputs: Sequence[Any], key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        def step(state: TrainState, inputs: Any) -> tuple[TrainState, Metrics]:
            return train_step(recipe, state, real_batch(resident, inputs, resolution), key)

        stacked = jax.tree.map(lambda *each: jnp.stack(each), *inputs)
        state, metrics = loop(step, state, stacked, unroll=recipe.unroll)
        return state, jax.tree.map(lambda values: values[-1], metrics)

    whole = replicated(mesh)
    return jax.jit(
        steps, donate_argnums=0, in_shardings=(whole, whole, batch_sharding(mesh), whole), out_shardings=whole
    )


def call_lengths(first_step: int, last_step: int, steps_per_call: int, intervals: Sequence[int]) -> Iterator[int]:
    """How many steps each call takes from `first_step` to `last_step`.

    At most `steps_per_call`, and fewer where something is due before, every so many steps as one of the `intervals`
    says (0: never).
    """
    step = first_step
    while step < last_step:
        due = [every - step % every for every in (steps_per_call, *intervals) if every]
        length = min(*due, last_step - step)
        yield length
        step += length
