"""One training step, pure: generate, update the discriminator some times, the generator once, the moving average."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sagan_jax.data.batch import Batch, random_flip, to_signed_float
from sagan_jax.models.conditional_norm import COLLECTION as BATCH_STATS
from sagan_jax.models.spectral_norm import COLLECTION as SPECTRAL_STATS
from sagan_jax.runtime.randomness import fold_in_name
from sagan_jax.training.losses import PenaltyInputs
from sagan_jax.training.state import NetworkState, TrainState, Tree, attention_gammas
from sagan_jax.training.step_config import TrainStepConfig
from sagan_jax.training.update import Outputs, loop, update_network

Metrics = dict[str, jax.Array]  # name -> [] float32


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
    fake = generate(step_config, state.generator, batch_size, latents_keys)

    def update(
        discriminator: NetworkState, inputs: tuple[Batch, Batch, jax.Array, jax.Array]
    ) -> tuple[NetworkState, Metrics]:
        return discriminator_update(step_config, discriminator, *inputs)

    numbers = state.step * updates + jnp.arange(updates)
    inputs = (batch, fake, real_keys, numbers)
    discriminator, metrics = loop(update, state.discriminator, inputs, unroll=step_config.unroll)

    last_real = Batch(real_images(step_config, batch.images[-1], real_keys[-1]), batch.labels[-1])
    generator, generator_metrics = generator_update(
        step_config, state.generator, discriminator, last_real, fold_in_name(key, "generator"), state.step
    )

    step = state.step + 1
    fraction = 1 - ema_decay(step_config, step)
    ema_params = optax.incremental_update(generator.params, state.ema_params, fraction)
    new_state = TrainState(step, generator, discriminator, ema_params)
    return new_state, jax.tree.map(jnp.mean, metrics) | generator_metrics | attention_gammas(new_state)


def generate(step_config: TrainStepConfig, generator: NetworkState, batch_size: int, keys: jax.Array) -> Batch:
    """Makes images [S, B, H, W, 3] float32 and labels [S, B] with the frozen generator, for S discriminator updates.

    In one pass, in which each update's images have batch-norm moments of their own.
    """
    updates = len(keys)
    drawn = jax.vmap(lambda key: step_config.prior.draw(batch_size, key))(keys)
    # Image i belongs to update i mod S, which leaves a sharded batch where it is.
    latents, labels = step_config.shard_batch(tuple(x.swapaxes(0, 1).reshape(-1, *x.shape[2:]) for x in drawn))
    module = step_config.networks.generator
    module = module.clone(config=dataclasses.replace(module.config, ghost_batches=updates))
    images: Any = module.apply(step_config.replicate(generator.variables), latents, labels, train=True)
    return Batch(*(x.reshape(batch_size, updates, *x.shape[1:]).swapaxes(0, 1) for x in (images, labels)))


def real_images(step_config: TrainStepConfig, images: Any, key: jax.Array) -> jax.Array:
    """Maps images [B, H, W, 3] uint8 to float32 in [-1, 1], mirrors half of them if wanted, and augments them."""
    scaled = to_signed_float(jnp.asarray(images))
    if step_config.flip:
        scaled = random_flip(scaled, key)
    return step_config.augment(scaled, image_keys(step_config, len(scaled), key)[:, 0])


def image_keys(step_config: TrainStepConfig, batch_size: int, key: jax.Array) -> jax.Array:
    """Makes the keys [B, 2] of the augmentation of the real and the generated images of a discriminator update."""
    return step_config.shard_batch(jax.random.split(fold_in_name(key, "augmentation"), (batch_size, 2)))


def discriminator_update(
    step_config: TrainStepConfig, network: NetworkState, real: Batch, fake: Batch, key: jax.Array, number: jax.Array
) -> tuple[NetworkState, Metrics]:
    """Updates the discriminator on B real images [B, H, W, 3] uint8 and as many generated ones, float32.

    `number` [] int32 counts its updates before this one.
    """
    module, loss = step_config.networks.discriminator, step_config.loss
    fake_keys = image_keys(step_config, len(fake.labels), key)[:, 1]

    def loss_of(params: Tree, piece: Any) -> tuple[jax.Array, Outputs]:
        real_images, real_labels, fake_images, fake_labels, keys = piece

        def discriminate(images: jax.Array, labels: jax.Array) -> Any:
            return module.apply(network.variables | {"params": params}, images, labels, mutable=[SPECTRAL_STATS])

        # One call on both halves, interleaved, so that a batch sharded over devices stays where it is.
        logits, updated = discriminate(interleave(real_images, fake_images), interleave(real_labels, fake_labels))
        real_logits, fake_logits = logits[0::2], logits[1::2]
        boundary = loss.boundary
        metrics = {
            "d_loss": loss.discriminator(real_logits, fake_logits),
            "real_logits": jnp.mean(real_logits),
            "fake_logits": jnp.mean(fake_logits),
            "d_accuracy": (jnp.mean(real_logits > boundary) + jnp.mean(fake_logits <= boundary)) / 2,
        }
        seen = PenaltyInputs(
            real_images=real_images,
            real_labels=real_labels,
            fake_images=fake_images,
            fake_labels=fake_labels,
            real_logits=lambda: real_logits,
            fake_logits=fake_logits,
            discriminate=lambda images, labels: discriminate(images, labels)[0],
            number=number,
            keys=keys,
        )
        penalties = {f"d_{p.name}": p.discriminator(seen) for p in step_config.penalties if p.discriminator}
        total = sum(penalties.values(), start=metrics["d_loss"])
        return total, Outputs(metrics | penalties, network.batch_stats, updated.get(SPECTRAL_STATS, {}))

    pieces = (
        real_images(step_config, real.images, key),
        real.labels,
        step_config.augment(jnp.asarray(fake.images), fake_keys),
        fake.labels,
        penalty_keys(step_config, len(fake.labels), key),
    )
    return update_network(step_config, "d", network, step_config.optimizers.discriminator, loss_of, pieces)


def generator_update(
    step_config: TrainStepConfig,
    network: NetworkState,
    discriminator: NetworkState,
    real: Batch,
    key: jax.Array,
    number: jax.Array,
) -> tuple[NetworkState, Metrics]:
    """Updates the generator against the frozen discriminator, on as many fresh latents as there are real images.

    With accumulation each piece has batch-norm moments of its own; running moments take their mean.

    Args:
      step_config: of the run.
      network, discriminator: the generator before the update, and the discriminator.
      real: images [B, H, W, 3] float32 as the discriminator saw them last, for losses that ask for them.
      key: of this update.
      number: [] int32, its updates before this one.
    """
    frozen, batch_size = step_config.replicate(discriminator.variables), len(real.labels)

    def discriminate(images: jax.Array, labels: jax.Array) -> Any:
        return step_config.networks.discriminator.apply(frozen, images, labels)

    def loss_of(params: Tree, piece: Any) -> tuple[jax.Array, Outputs]:
        latents, fake_labels, fake_keys, real_images, real_labels, keys = piece
        fake_images, updated = step_config.networks.generator.apply(
            network.variables | {"params": params},
            latents,
            fake_labels,
            train=True,
            mutable=[BATCH_STATS, SPECTRAL_STATS],
        )
        fake_images = step_config.augment(fake_images, fake_keys)
        fake_logits = discriminate(fake_images, fake_labels)

        def real_logits() -> Any:
            return discriminate(real_images, real_labels)

        metrics = {"g_loss": step_config.loss.generator(fake_logits, real_logits)}
        seen = PenaltyInputs(
            real_images=real_images,
            real_labels=real_labels,
            fake_images=fake_images,
            fake_labels=fake_labels,
            real_logits=real_logits,
            fake_logits=fake_logits,
            discriminate=discriminate,
            number=number,
            keys=keys,
        )
        penalties = {f"g_{p.name}": p.generator(seen) for p in step_config.penalties if p.generator}
        total = sum(penalties.values(), start=metrics["g_loss"])
        stats = (updated.get(BATCH_STATS, {}), updated.get(SPECTRAL_STATS, {}))
        return total, Outputs(metrics | penalties, *stats)

    fake_keys = jax.random.split(fold_in_name(key, "augmentation"), batch_size)
    drawn = step_config.shard_batch((*step_config.prior.draw(batch_size, key), fake_keys))
    pieces = (*drawn, *real, penalty_keys(step_config, batch_size, key))
    return update_network(step_config, "g", network, step_config.optimizers.generator, loss_of, pieces)


def penalty_keys(step_config: TrainStepConfig, batch_size: int, key: jax.Array) -> jax.Array:
    """Makes keys [B] for the penalties, one for each image."""
    return step_config.shard_batch(jax.random.split(fold_in_name(key, "penalties"), batch_size))


def interleave(first: jax.Array, second: jax.Array) -> jax.Array:
    """Joins [B, ...] and [B, ...] to [2B, ...] with first at even and second at odd positions."""
    return jnp.stack([first, second], axis=1).reshape(-1, *first.shape[1:])


def ema_decay(step_config: TrainStepConfig, step: jax.Array) -> jax.Array:
    """Computes the decay of the moving average after `step` steps; 0, so a copy, up to `ema_start_step`.

    From there on it rises with the steps averaged, n / (n + 9), up to `ema_decay`, so
    that the average of a short run is not made of its beginning.
    """
    averaged = jnp.maximum(step - step_config.ema_start_step, 0)
    return jnp.minimum(averaged / (averaged + 9), step_config.ema_decay)
