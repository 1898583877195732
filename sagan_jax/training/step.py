"""One training step, pure: generate, update the discriminator some times, the generator once, the moving average."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sagan_jax.data.batch import Batch
from sagan_jax.runtime.randomness import fold_in_name
from sagan_jax.training.discriminator_update import Fakes, discriminator_update, real_images
from sagan_jax.training.generator_update import generator_update
from sagan_jax.training.state import NetworkState, TrainState, attention_gammas
from sagan_jax.training.step_config import TrainStepConfig
from sagan_jax.training.update import Metrics, loop


def train_step(
    step_config: TrainStepConfig, state: TrainState, batch: Batch, key: jax.Array
) -> tuple[TrainState, Metrics]:
    """Takes one step of the run.

    Args:
      step_config: bound by `functools.partial` before jit.
      state: the run after `state.step` steps.
      batch: real images [S, B, H, W, 3] uint8 and labels [S, B] for S discriminator updates.
      key: the run's key, the same in every step.

    Returns:
      The run after one more step, and the step's metrics; those of the discriminator are
      means over its S updates.
    """
    key = jax.random.fold_in(key, state.step)
    updates, batch_size = batch.labels.shape
    update_keys = jax.random.split(fold_in_name(key, "discriminator"), updates)
    real_keys, latents_keys = jax.vmap(jax.random.split, out_axes=1)(update_keys)
    fakes = generate(step_config, state.generator, batch_size, latents_keys)

    def update(players: Players, inputs: tuple[Batch, Fakes, jax.Array, jax.Array]) -> tuple[Players, Metrics]:
        real, fakes, key, number = inputs
        discriminator, running = players
        discriminator, metrics = discriminator_update(step_config, discriminator, running, real, fakes, key, number)
        running = {one.name: one.update(running[one.name], metrics) for one in step_config.running}
        return Players(discriminator, running), metrics | running

    numbers = state.step * updates + jnp.arange(updates)
    inputs = (batch, fakes, real_keys, numbers)
    before = Players(state.discriminator, state.running)
    (discriminator, running), metrics = loop(update, before, inputs, unroll=step_config.unroll)

    last_real = Batch(real_images(step_config, batch.images[-1], real_keys[-1], running), batch.labels[-1])
    generator, generator_metrics = generator_update(
        step_config, state.generator, discriminator, running, last_real, fold_in_name(key, "generator"), state.step
    )

    step = state.step + 1
    fraction = 1 - ema_decay(step_config, step)
    ema_params = optax.incremental_update(generator.params, state.ema_params, fraction)
    new_state = TrainState(step, generator, discriminator, ema_params, running)
    return new_state, jax.tree.map(jnp.mean, metrics) | generator_metrics | attention_gammas(new_state)


class Players(NamedTuple):
    """What an update of the discriminator changes: it, and the running statistics that follow it."""

    discriminator: NetworkState
    running: dict[str, jax.Array]


def generate(step_config: TrainStepConfig, generator: NetworkState, batch_size: int, keys: jax.Array) -> Fakes:
    """Makes images with the frozen generator, for S discriminator updates; arrays have a first axis [S].

    In one pass, in which each update's images have batch-norm moments of their own.
    """
    updates = len(keys)
    drawn = jax.vmap(lambda key: step_config.prior.draw(batch_size, key))(keys)
    # Image i belongs to update i mod S, which leaves a sharded batch where it is.
    latents, labels = step_config.shard_batch(tuple(x.swapaxes(0, 1).reshape(-1, *x.shape[2:]) for x in drawn))
    module = step_config.networks.generator
    module = module.clone(config=dataclasses.replace(module.config, ghost_batches=updates))
    variables = step_config.replicate(generator.variables)

    def images_of(latents: jax.Array) -> Any:
        return module.apply(variables, latents, labels, train=True)

    near_images = None
    if step_config.latent_noise:
        noise = jax.random.normal(fold_in_name(keys[0], "near"), latents.shape)
        near_images = images_of(latents + step_config.latent_noise * step_config.shard_batch(noise))
    made = Fakes(images_of(latents), labels, near_images)
    return jax.tree.map(lambda x: x.reshape(batch_size, updates, *x.shape[1:]).swapaxes(0, 1), made)


def ema_decay(step_config: TrainStepConfig, step: jax.Array) -> jax.Array:
    """Computes the decay of the moving average after `step` steps; 0, so a copy, up to `ema_start_step`.

    From there on it rises with the steps averaged, n / (n + 9), up to `ema_decay`, so
    that the average of a short run is not made of its beginning.
    """
    averaged = jnp.maximum(step - step_config.ema_start_step, 0)
    return jnp.minimum(averaged / (averaged + 9), step_config.ema_decay)
