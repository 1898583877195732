"""One update of the generator: its loss against the frozen discriminator, with the penalties on it."""

import functools
from collections.abc import Mapping
from typing import Any

import jax

from sagan_jax.data.batch import Batch
from sagan_jax.models.conditional_norm import COLLECTION as BATCH_STATS
from sagan_jax.models.spectral_norm import COLLECTION as SPECTRAL_STATS
from sagan_jax.objectives.penalty import PenaltyInputs
from sagan_jax.objectives.top_k import annealed_fraction, learn_from_top
from sagan_jax.runtime.randomness import fold_in_name
from sagan_jax.training.state import NetworkState, Tree
from sagan_jax.training.step_config import TrainStepConfig
from sagan_jax.training.update import Metrics, Outputs, penalty_keys, update_network, with_penalties


def generator_update(
    step_config: TrainStepConfig,
    network: NetworkState,
    discriminator: NetworkState,
    running: Mapping[str, jax.Array],
    real: Batch,
    key: jax.Array,
    number: jax.Array,
) -> tuple[NetworkState, Metrics]:
    """Updates the generator against the frozen discriminator, on as many fresh latents as there are real images.

    With accumulation each piece has batch-norm moments of its own; running moments take their mean.

    Args:
      step_config: of the run.
      network, discriminator, running: the generator before the update, the discriminator, what follows it.
      real: images [B, H, W, 3] float32 of the last discriminator update, augmented, for losses that ask for them.
      key, number: of this update, and [] int32, how many there were before it.
    """
    frozen, batch_size = step_config.replicate(discriminator.variables), len(real.labels)

    def discriminate(images: jax.Array, labels: jax.Array) -> Any:
        return step_config.networks.discriminator.apply(frozen, images, labels)

    def loss_of(params: Tree, piece: Any) -> tuple[jax.Array, Outputs]:
        (latents, fake_labels, fake_keys, noise), real_images, real_labels, keys = piece

        def generate(latents: jax.Array) -> tuple[Any, Any]:
            images, updated = step_config.networks.generator.apply(
                network.variables | {"params": params},
                latents,
                fake_labels,
                train=True,
                mutable=[BATCH_STATS, SPECTRAL_STATS],
            )
            return step_config.augmented(images, fake_keys, running), updated

        fake_images, updated = generate(latents)
        fake_logits = discriminate(fake_images, fake_labels)
        real_logits = functools.partial(discriminate, real_images, real_labels)
        metrics = {"g_loss": step_config.loss.generator(followed_logits(step_config, fake_logits, number), real_logits)}
        seen = PenaltyInputs(
            real_images=real_images,
            real_labels=real_labels,
            fake_images=fake_images,
            fake_labels=fake_labels,
            real_logits=real_logits,
            fake_logits=fake_logits,
            near_images=lambda: generate(latents + step_config.latent_noise * noise)[0],
            discriminate=discriminate,
            params=params,
            running=running,
            number=number,
            keys=keys,
        )
        total, metrics = with_penalties("g", metrics, step_config.penalties, seen)
        return total, Outputs(metrics, updated.get(BATCH_STATS, {}), updated.get(SPECTRAL_STATS, {}))

    pieces = (drawn_inputs(step_config, batch_size, key), *real, penalty_keys(step_config, batch_size, key))
    return update_network(step_config, "g", network, step_config.optimizers.generator, loss_of, pieces)


def drawn_inputs(step_config: TrainStepConfig, batch_size: int, key: jax.Array) -> tuple[Any, ...]:
    """Draws latents [B, Z], labels [B], keys [B] for the augmentation, and what changes latents a little, or None."""
    latents, labels = step_config.prior.draw(batch_size, key)
    keys = jax.random.split(fold_in_name(key, "augmentation"), batch_size)
    noise = jax.random.normal(fold_in_name(key, "near"), latents.shape) if step_config.latent_noise else None
    return step_config.shard_batch((latents, labels, keys, noise))


def followed_logits(step_config: TrainStepConfig, fake_logits: jax.Array, number: jax.Array) -> jax.Array:
    """Returns the logits of generated images that the generator learns from."""
    if step_config.top_k == 1:
        return fake_logits
    return learn_from_top(annealed_fraction(step_config.top_k, step_config.top_k_steps, number), fake_logits)
