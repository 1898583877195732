"""Everything about a training step that is fixed for a run: networks, optimisers, losses, penalties."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from sagan_jax.augmentation.bgc import Probability
from sagan_jax.augmentation.policy import Augment, augmentation
from sagan_jax.errors import InputError
from sagan_jax.models.latent_prior import LatentPrior
from sagan_jax.objectives.losses import AdversarialLoss, adversarial_loss
from sagan_jax.objectives.penalties import build_penalties
from sagan_jax.objectives.penalty import Penalty, RunningStatistic
from sagan_jax.training.adaptive_augmentation import NAME as AUGMENTATION_PROBABILITY
from sagan_jax.training.adaptive_augmentation import adaptive_probability
from sagan_jax.training.networks import Networks, build_networks
from sagan_jax.training.optimizers import Optimizers, build_optimizers
from sagan_jax.training.parts import NO_PARTS, Parts

MOST_OF_BGC = 0.8  # probability beyond which samples show the changes (Karras et al. 2020, section 2.2)


@dataclasses.dataclass(frozen=True)
class TrainStepConfig:
    """What a training step is made of.

    Attributes:
      networks, optimizers, loss: the modules and functions of the two players.
      penalties: added to the losses.
      running: statistics that follow the discriminator, each once.
      prior: of the latents and labels that the generator takes.
      accumulation_steps: equal pieces of a batch whose gradients are averaged.
      ema_decay, ema_start_step: of the averaged generator.
      flip: whether to mirror half of the real images.
      augment: applied to all images before the discriminator sees them, see `augmented`.
      augmentation_probability: of each of its changes, where that does not follow the discriminator.
      top_k, top_k_steps: fraction of its images that the generator learns from in the end, and when, see top_k.py.
      unroll: whether loops over updates and pieces are written out flat, see `loop`.
      shard_batch: shards arrays [B, ...] that are made in the step over the devices; without it every device would make
        and use all of them.
      replicate: puts the weights that images pass through on every device, where the state is sharded.
    """

    networks: Networks
    optimizers: Optimizers
    loss: AdversarialLoss
    penalties: tuple[Penalty, ...]
    running: tuple[RunningStatistic, ...]
    prior: LatentPrior
    accumulation_steps: int
    ema_decay: float
    ema_start_step: int
    flip: bool
    augment: Augment
    augmentation_probability: float
    top_k: float
    top_k_steps: int
    unroll: bool
    shard_batch: Callable[[Any], Any] = lambda arrays: arrays
    replicate: Callable[[Any], Any] = lambda arrays: arrays

    @property
    def latent_noise(self) -> float:
        """Standard deviation of what is added to latents for `PenaltyInputs.near_images`; 0: there are none."""
        return max((penalty.latent_noise for penalty in self.penalties), default=0.0)

    def augmented(self, images: jax.Array, keys: jax.Array, running: Mapping[str, jax.Array]) -> jax.Array:
        """Augments images [B, H, W, 3] with keys [B] and the running statistics of the state."""
        probability: Probability = running.get(AUGMENTATION_PROBABILITY, self.augmentation_probability)
        return self.augment(images, keys, probability)


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
    train = config.train
    loss = parts.loss or adversarial_loss(train.loss)
    penalties = (*build_penalties(train.penalties), *parts.penalties)
    statistics = [*_adaptive_augmentation(config, loss), *(found for penalty in penalties for found in penalty.running)]
    return TrainStepConfig(
        networks=parts.networks or build_networks(config),
        optimizers=build_optimizers(config),
        loss=loss,
        penalties=penalties,
        running=tuple({statistic.name: statistic for statistic in statistics}.values()),
        prior=LatentPrior(config.model.latent_size, config.model.num_classes, class_frequencies),
        accumulation_steps=train.accumulation_steps,
        ema_decay=train.ema_decay,
        ema_start_step=train.ema_start_step,
        flip=config.data.flip,
        augment=augmentation(train.augmentations),
        augmentation_probability=train.augmentation_probability,
        top_k=train.top_k,
        top_k_steps=train.top_k_steps,
        unroll=jax.default_backend() == "cpu",
    )


def _adaptive_augmentation(config: ConfigDict, loss: AdversarialLoss) -> tuple[RunningStatistic, ...]:
    """Returns the probability of augmentation where it follows the discriminator. Raises InputError if it cannot."""
    train = config.train
    target, probability = train.augmentation_target, train.augmentation_probability
    if not target:
        if "bgc" in train.augmentations and probability > MOST_OF_BGC:
            wrong = "changes nearly every image, which samples would show, where train.augmentations has bgc"
            remedy = f"set train.augmentation_target=0.6, or this to at most {MOST_OF_BGC}"
            raise InputError(wrong, field="train.augmentation_probability", value=probability, remedy=remedy)
        return ()
    wrong = ""
    if not train.augmentations:
        wrong, remedy = "has nothing to adapt", 'set train.augmentations, such as "bgc", or leave this at 0'
    elif loss.boundary is None:
        wrong = "needs to know which images D calls real, which the loss leaves open"
        remedy = "use another loss, or leave this at 0 and set train.augmentation_probability"
    elif probability != 1:
        wrong = f"sets the probability, and so does train.augmentation_probability = {probability}"
        remedy = "leave one of them out"
    if wrong:
        raise InputError(wrong, field="train.augmentation_target", value=target, remedy=remedy)
    return (adaptive_probability(target, train.augmentation_images, train.batch_size),)
