"""One update of the discriminator: its loss on real and generated images, with the penalties on it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sagan_jax.data.batch import Batch, random_flip, to_signed_float
from sagan_jax.models.spectral_norm import COLLECTION as SPECTRAL_STATS
from sagan_jax.objectives.penalty import PenaltyInputs
from sagan_jax.runtime.randomness import fold_in_name
from sagan_jax.training.state import NetworkState, Tree
from sagan_jax.training.step_config import TrainStepConfig
from sagan_jax.training.update import Metrics, Outputs, penalty_keys, update_network, with_penalties


class Fakes(NamedTuple):
    """Generated images [B, H, W, 3] float32 with labels [B], and images from latents near theirs, or None."""

    images: Any
    labels: Any
    near_images: Any = None


def discriminator_update(
    step_config: TrainStepConfig,
    network: NetworkState,
    running: Mapping[str, jax.Array],
    real: Batch,
    fakes: Fakes,
    key: jax.Array,
    number: jax.Array,
) -> tuple[NetworkState, Metrics]:
    """Updates the discriminator on B real images [B, H, W, 3] uint8 and as many generated ones.

    `running` are the statistics of the updates before, of which there were `number` [] int32.
    """
    module, loss = step_config.networks.discriminator, step_config.loss

    def loss_of(params: Tree, piece: Any) -> tuple[jax.Array, Outputs]:
        real_images, real_labels, fakes, keys = piece

        def discriminate(images: jax.Array, labels: jax.Array) -> Any:
            return module.apply(network.variables | {"params": params}, images, labels, mutable=[SPECTRAL_STATS])

        # One call on both halves, interleaved, so that a batch sharded over devices stays where it is.
        logits, updated = discriminate(interleave(real_images, fakes.images), interleave(real_labels, fakes.labels))
        real_logits, fake_logits = logits[0::2], logits[1::2]
        metrics = {
            "d_loss": loss.discriminator(real_logits, fake_logits),
            "real_logits": jnp.mean(real_logits),
            "fake_logits": jnp.mean(fake_logits),
            **accuracies(loss.boundary, real_logits, fake_logits),
        }
        seen = PenaltyInputs(
            real_images=real_images,
            real_labels=real_labels,
            fake_images=fakes.images,
            fake_labels=fakes.labels,
            real_logits=lambda: real_logits,
            fake_logits=fake_logits,
            near_images=lambda: fakes.near_images,
            discriminate=lambda images, labels: discriminate(images, labels)[0],
            params=params,
            running=running,
            number=number,
            keys=keys,
        )
        total, metrics = with_penalties("d", metrics, step_config.penalties, seen)
        return total, Outputs(metrics, network.batch_stats, updated.get(SPECTRAL_STATS, {}))

    batch = seen_images(step_config, running, real, fakes, key)
    return update_network(step_config, "d", network, step_config.optimizers.discriminator, loss_of, batch)


def accuracies(boundary: float | None, real_logits: jax.Array, fake_logits: jax.Array) -> Metrics:
    """Computes which fraction of real images, and of all, D takes for what they are; empty without a boundary."""
    if boundary is None:
        return {}
    of_real, of_fakes = jnp.mean(real_logits > boundary), jnp.mean(fake_logits <= boundary)
    return {"d_real_accuracy": of_real, "d_accuracy": (of_real + of_fakes) / 2}


def seen_images(
    step_config: TrainStepConfig, running: Mapping[str, jax.Array], real: Batch, fakes: Fakes, key: jax.Array
) -> tuple[Any, Any, Fakes, jax.Array]:
    """Returns the batch that an update's loss is computed from: images as D sees them, labels, and keys [B]."""
    fake_keys = image_keys(step_config, len(fakes.labels), key)[:, 1]
    images, near_images = jax.tree.map(
        lambda images: step_config.augmented(jnp.asarray(images), fake_keys, running), (fakes.images, fakes.near_images)
    )
    seen_fakes = Fakes(images, fakes.labels, near_images)
    seen_real = real_images(step_config, real.images, key, running)
    return seen_real, real.labels, seen_fakes, penalty_keys(step_config, len(real.labels), key)


def real_images(
    step_config: TrainStepConfig, images: Any, key: jax.Array, running: Mapping[str, jax.Array]
) -> jax.Array:
    """Maps images [B, H, W, 3] uint8 to float32 in [-1, 1], mirrors half of them if wanted, and augments them."""
    scaled = to_signed_float(jnp.asarray(images))
    if step_config.flip:
        scaled = random_flip(scaled, key)
    return step_config.augmented(scaled, image_keys(step_config, len(scaled), key)[:, 0], running)


def image_keys(step_config: TrainStepConfig, batch_size: int, key: jax.Array) -> jax.Array:
    """Makes the keys [B, 2] of the augmentation of the real and the generated images of a discriminator update."""
    return step_config.shard_batch(jax.random.split(fold_in_name(key, "augmentation"), (batch_size, 2)))


def interleave(first: jax.Array, second: jax.Array) -> jax.Array:
    """Joins [B, ...] and [B, ...] to [2B, ...] with first at even and second at odd positions."""
    return jnp.stack([first, second], axis=1).reshape(-1, *first.shape[1:])
