"""One training step, pure: some discriminator updates, one generator update, the moving average."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from sagan_jax.data.batch import Batch
from sagan_jax.data.transforms import random_flip, to_signed_float
from sagan_jax.models.latent_prior import LatentPrior
from sagan_jax.models.spectral_norm import largest_sigma, normalize_for_update
from sagan_jax.runtime.randomness import fold_in_name
from sagan_jax.training.accumulation import loop, mean_gradients
from sagan_jax.training.augmentation import Augment, augmentation
from sagan_jax.training.losses import AdversarialLoss, adversarial_loss
from sagan_jax.training.networks import Networks, build_networks
from sagan_jax.training.optimizers import Optimizers, build_optimizers
from sagan_jax.training.state import NetworkState, TrainState, Tree, apply_gradients, attention_gammas, frozen_variables

Metrics = dict[str, jax.Array]  # name -> [] float32


@dataclasses.dataclass(frozen=True)
class TrainStepConfig:
    """Everything about a step that is fixed for a run.

    Attributes:
      networks, optimizers, loss: the modules and functions of the two players.
      prior: of the latents and labels that the generator is given.
      spectral_epsilon: see `spectral_norm.normalize_for_update`.
      accumulation_steps: equal pieces of a batch whose gradients are averaged.
      ema_decay, ema_start_step: of the averaged generator.
      flip: mirror half of the real images.
      augment: what all images go through before the discriminator sees them.
      shard_batch: asks for arrays [B, ...] that are made in the step to be spread over the devices; without it every
        device would make and use all of them.
      replicate: asks for the weights that images pass through to be whole on every device, where the state is not.
      unroll: lay the loops over updates and pieces out flat. For CPUs, where XLA runs the
        convolutions inside a loop on a single thread.
    """

    networks: Networks
    optimizers: Optimizers
    loss: AdversarialLoss
    prior: LatentPrior
    spectral_epsilon: float
    accumulation_steps: int
    ema_decay: float
    ema_start_step: int
    flip: bool
    augment: Augment
    unroll: bool
    shard_batch: Callable[[Any], Any] = lambda arrays: arrays
    replicate: Callable[[Any], Any] = lambda arrays: arrays


def build_step_config(config: ConfigDict, class_frequencies: tuple[float, ...] = ()) -> TrainStepConfig:
    """The step of a config whose `model.num_classes` is known. Raises InputError on impossible fields.

    Args:
      config: of the run.
      class_frequencies: of generated labels, see `LatentPrior`.
    """
    return TrainStepConfig(
        networks=build_networks(config),
        optimizers=build_optimizers(config),
        loss=adversarial_loss(config.train.loss),
        prior=LatentPrior(config.model.latent_size, config.model.num_classes, class_frequencies),
        spectral_epsilon=config.model.spectral_epsilon,
        accumulation_steps=config.train.accumulation_steps,
        ema_decay=config.train.ema_decay,
        ema_start_step=config.train.ema_start_step,
        flip=config.data.flip,
        augment=augmentation(config.train.augmentations),
        unroll=jax.default_backend() == "cpu",
    )


def train_step(
    step_config: TrainStepConfig, state: TrainState, batch: Batch, key: jax.Array
) -> tuple[TrainState, Metrics]:
    """One step of the run.

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

    def update(discriminator: NetworkState, inputs: tuple[Batch, Batch, jax.Array]) -> tuple[NetworkState, Metrics]:
        return discriminator_update(step_config, discriminator, *inputs)

    discriminator, metrics = loop(update, state.discriminator, (batch, fake, real_keys), unroll=step_config.unroll)
    generator, generator_metrics = generator_update(
        step_config, state.generator, discriminator, batch_size, fold_in_name(key, "generator")
    )
    new_state = TrainState(
        step=state.step + 1,
        generator=generator,
        discriminator=discriminator,
        ema_params=moving_average(step_config, state.ema_params, generator.params, state.step + 1),
    )
    metrics = jax.tree.map(jnp.mean, metrics) | generator_metrics
    return new_state, metrics | attention_gammas(new_state)


def generate(step_config: TrainStepConfig, generator: NetworkState, batch_size: int, keys: jax.Array) -> Batch:
    """Images [S, B, H, W, 3] float32 and labels [S, B] of the frozen generator, for S discriminator updates.

    In one pass, in which each update's images have batch-norm moments of their own.
    """
    updates = len(keys)
    drawn = jax.vmap(lambda key: step_config.prior.draw(batch_size, key))(keys)
    # Image i belongs to update i mod S, which leaves a sharded batch where it is.
    latents, labels = step_config.shard_batch(tuple(x.swapaxes(0, 1).reshape(-1, *x.shape[2:]) for x in drawn))
    module = step_config.networks.generator
    module = module.clone(config=dataclasses.replace(module.config, ghost_batches=updates))
    images: Any = module.apply(step_config.replicate(frozen_variables(generator)), latents, labels, train=True)
    return Batch(*(x.reshape(batch_size, updates, *x.shape[1:]).swapaxes(0, 1) for x in (images, labels)))


def discriminator_update(
    step_config: TrainStepConfig, discriminator: NetworkState, real: Batch, fake: Batch, key: jax.Array
) -> tuple[NetworkState, Metrics]:
    """One update of the discriminator on B real images [B, H, W, 3] uint8 and as many generated ones, float32."""
    real_images = to_signed_float(jnp.asarray(real.images))
    if step_config.flip:
        real_images = random_flip(real_images, key)
    image_keys = step_config.shard_batch(jax.random.split(fold_in_name(key, "augmentation"), (len(real_images), 2)))
    real_images = step_config.augment(real_images, image_keys[:, 0])
    fake_images = step_config.augment(jnp.asarray(fake.images), image_keys[:, 1])

    def loss_of(weights: Tree, piece: Any) -> tuple[jax.Array, Metrics]:
        real_images, real_labels, fake_images, fake_labels = piece
        # One call on both halves, interleaved, so that a batch sharded over devices stays where it is.
        logits: Any = step_config.networks.discriminator.apply(
            {"params": weights}, interleave(real_images, fake_images), interleave(real_labels, fake_labels)
        )
        real_logits, fake_logits = logits[0::2], logits[1::2]
        boundary = step_config.loss.boundary
        loss = step_config.loss.discriminator(real_logits, fake_logits)
        return loss, {
            "d_loss": loss,
            "real_logits": jnp.mean(real_logits),
            "fake_logits": jnp.mean(fake_logits),
            "d_accuracy": (jnp.mean(real_logits > boundary) + jnp.mean(fake_logits <= boundary)) / 2,
        }

    pieces = (real_images, real.labels, fake_images, fake.labels)
    discriminator, metrics, sizes = update_network(
        step_config, discriminator, step_config.optimizers.discriminator, loss_of, pieces
    )
    return discriminator, metrics | {f"d_{name}": value for name, value in sizes.items()}


def generator_update(
    step_config: TrainStepConfig, generator: NetworkState, discriminator: NetworkState, batch_size: int, key: jax.Array
) -> tuple[NetworkState, Metrics]:
    """One update of the generator against the frozen discriminator, on `batch_size` fresh latents.

    With accumulation each piece has batch-norm moments of its own; running moments take their mean.
    """
    judge = step_config.replicate(frozen_variables(discriminator))

    def loss_of(weights: Tree, piece: Any) -> tuple[jax.Array, tuple[Tree, Metrics]]:
        latents, labels, image_keys = piece
        fake_images, updated = step_config.networks.generator.apply(
            {"params": weights, "batch_stats": generator.batch_stats},
            latents,
            labels,
            train=True,
            mutable=["batch_stats"],
        )
        fake_logits: Any = step_config.networks.discriminator.apply(
            judge, step_config.augment(fake_images, image_keys), labels
        )
        loss = step_config.loss.generator(fake_logits)
        return loss, (updated["batch_stats"], {"g_loss": loss})

    image_keys = jax.random.split(fold_in_name(key, "augmentation"), batch_size)
    pieces = step_config.shard_batch((*step_config.prior.draw(batch_size, key), image_keys))
    generator, (batch_stats, metrics), sizes = update_network(
        step_config, generator, step_config.optimizers.generator, loss_of, pieces
    )
    generator = dataclasses.replace(generator, batch_stats=batch_stats)
    return generator, metrics | {f"g_{name}": value for name, value in sizes.items()}


def update_network(
    step_config: TrainStepConfig,
    network: NetworkState,
    optimizer: optax.GradientTransformation,
    loss_of: Callable[[Tree, Any], tuple[jax.Array, Any]],
    batch: Any,
) -> tuple[NetworkState, Any, Metrics]:
    """One update of a network: one step of the power iteration, then one of the optimiser.

    Args:
      step_config: of the run.
      network: before the update.
      optimizer: of this network.
      loss_of: from normalised weights and a piece of the batch to the loss and other outputs.
      batch: cut into `step_config.accumulation_steps` pieces.

    Returns:
      The network after the update, the other outputs of `loss_of`, and how large gradient and kernels are.
    """
    normalize = functools.partial(
        normalize_for_update, stats=network.spectral_stats, epsilon=step_config.spectral_epsilon
    )
    weights, pull_back, spectral_stats = jax.vjp(normalize, network.params, has_aux=True)
    weights = step_config.replicate(weights)
    gradients, outputs = mean_gradients(
        loss_of, weights, batch, step_config.accumulation_steps, unroll=step_config.unroll
    )
    (gradients,) = pull_back(gradients)
    sizes = {"gradient_norm": optax.tree.norm(gradients)}
    if spectral_stats:
        sizes["sigma_max"] = largest_sigma(spectral_stats)
    network = apply_gradients(network, gradients, optimizer)
    return dataclasses.replace(network, spectral_stats=spectral_stats), outputs, sizes


def interleave(first: jax.Array, second: jax.Array) -> jax.Array:
    """[B, ...] and [B, ...] -> [2B, ...] with first at even and second at odd positions."""
    return jnp.stack([first, second], axis=1).reshape(-1, *first.shape[1:])


def moving_average(step_config: TrainStepConfig, average: Tree, params: Tree, step: jax.Array) -> Tree:
    """The exponential moving average after `step` steps; a copy of params up to `ema_start_step`.

    From there on the decay rises with the steps averaged, n / (n + 9), up to `ema_decay`, so
    that the average of a short run is not made of its beginning.
    """
    averaged = jnp.maximum(step - step_config.ema_start_step, 0)
    decay = jnp.minimum(averaged / (averaged + 9), step_config.ema_decay)
    return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, average, params)
