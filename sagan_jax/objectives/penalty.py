"""What a penalty is, and what it is computed from."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Array, Float, Int, Key

from sagan_jax.objectives.losses import LazyLogits, Logits, Scalar

Images = Float[Array, "batch height width 3"]
Labels = Int[Array, " batch"]
Tree = Any  # nested dicts of arrays


class RunningStatistic(NamedTuple):
    """A number that follows the discriminator from update to update; part of the state and of every checkpoint.

    Attributes:
      name: among the running statistics of a run, of which each is kept once.
      initial: its value before the first update.
      update: (value [], metrics of an update of the discriminator) -> value [].
    """

    name: str
    initial: float
    update: Callable[[Scalar, Mapping[str, Scalar]], Scalar]


class PenaltyInputs(NamedTuple):
    """What a penalty may need, of one piece of the batch of an update.

    Attributes:
      real_images, fake_images: [B, H, W, 3] float32, as the discriminator sees them, so augmented.
      real_labels, fake_labels: [B] int32.
      real_logits: `real_logits()` returns [B]; in the generator's update computed only where it is called.
      fake_logits: [B].
      near_images: `near_images()` returns [B, H, W, 3], from latents near those of `fake_images` and changed alike, see
        `Penalty.latent_noise`.
      discriminate: (images, labels) -> logits [B], with the weights of this update.
      params: of the network that is updated.
      running: the statistics of the updates before, [] by name.
      number: [] int32, updates of this network before this one.
      keys: [B], one for each image, for random numbers.
    """

    real_images: Images
    real_labels: Labels
    fake_images: Images
    fake_labels: Labels
    real_logits: LazyLogits
    fake_logits: Logits
    near_images: Callable[[], Images]
    discriminate: Callable[[Images, Labels], Logits]
    params: Tree
    running: Mapping[str, Scalar]
    number: Int[Array, ""]
    keys: Key[Array, " batch"]


PenaltyTerm = Callable[[PenaltyInputs], Scalar]


class Penalty(NamedTuple):
    """A term that is added to the losses and logged as `d_NAME` and `g_NAME`.

    Attributes:
      name: for the metrics.
      discriminator, generator: of the loss of which network; None adds nothing.
      latent_noise: standard deviation of what is added to latents for `near_images`; 0 where they are not needed.
      running: statistics that it reads.
    """

    name: str
    discriminator: PenaltyTerm | None = None
    generator: PenaltyTerm | None = None
    latent_noise: float = 0.0
    running: tuple[RunningStatistic, ...] = ()
