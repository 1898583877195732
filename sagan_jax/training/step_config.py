"""Everything about a training step that is fixed for a run: networks, optimisers, losses, penalties."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from ml_collections import ConfigDict

from sagan_jax.models.latent_prior import LatentPrior
from sagan_jax.training.augmentation import Augment, augmentation
from sagan_jax.training.losses import AdversarialLoss, Penalty, adversarial_loss
from sagan_jax.training.networks import Networks, build_networks
from sagan_jax.training.optimizers import Optimizers, build_optimizers
from sagan_jax.training.parts import NO_PARTS, Parts
from sagan_jax.training.penalties import build_penalties


@dataclasses.dataclass(frozen=True)
class TrainStepConfig:
    """What a training step is made of.

    Attributes:
      networks, optimizers, loss: the modules and functions of the two players.
      penalties: added to the losses.
      prior: of the latents and labels that the generator takes.
      accumulation_steps: equal pieces of a batch whose gradients are averaged.
      ema_decay, ema_start_step: of the averaged generator.
      flip: whether to mirror half of the real images.
      augment: applied to all images before the discriminator sees them.
      unroll: whether loops over updates and pieces are written out flat, see `loop`.
      shard_batch: shards arrays [B, ...] that are made in the step over the devices; without it every device would make
        and use all of them.
      replicate: puts the weights that images pass through on every device, where the state is sharded.
    """

    networks: Networks
    optimizers: Optimizers
    loss: AdversarialLoss
    penalties: tuple[Penalty, ...]
    prior: LatentPrior
    accumulation_steps: int
    ema_decay: float
    ema_start_step: int
    flip: bool
    augment: Augment
    unroll: bool
    shard_batch: Callable[[Any], Any] = lambda arrays: arrays
    replicate: Callable[[Any], Any] = lambda arrays: arrays


def build_step_config(
    config: ConfigDict, class_frequencies: tuple[float, ...] = (), parts: Parts = NO_PARTS
) -> TrainStepConfig:
    """Builds what a step is made of, as a config names it.

    Args:
      config: of the run, with `model.num_classes` known.
      class_frequencies: of generated labels, see `LatentPrior`.
      parts: used in place of what the config names.

    Raises:
      InputError: a field is impossible.
    """
    return TrainStepConfig(
        networks=parts.networks or build_networks(config),
        optimizers=build_optimizers(config),
        loss=parts.loss or adversarial_loss(config.train.loss),
        penalties=(*build_penalties(config.train.penalties), *parts.penalties),
        prior=LatentPrior(config.model.latent_size, config.model.num_classes, class_frequencies),
        accumulation_steps=config.train.accumulation_steps,
        ema_decay=config.train.ema_decay,
        ema_start_step=config.train.ema_start_step,
        flip=config.data.flip,
        augment=augmentation(config.train.augmentations),
        unroll=jax.default_backend() == "cpu",
    )
