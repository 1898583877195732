"""The generator: latents and class labels to images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sagan_jax.models.architecture import SEED_RESOLUTION, Architecture, check_num_classes, generator_architecture
from sagan_jax.models.attention import SelfAttention
from sagan_jax.models.between_blocks import Attention, after_block
from sagan_jax.models.blocks import RESIDUAL, Blocks
from sagan_jax.models.conditional_norm import BatchNorm
from sagan_jax.models.conditioning import ClassLabels, Conditioning
from sagan_jax.models.inputs import as_arrays, check_labels, check_latents
from sagan_jax.models.layers import DEFAULT_CONFIG, Conv, Dense, LayerConfig

IMAGE_CHANNELS = 3


class Generator(nn.Module):
    """Dense to 4x4, residual blocks that double the side, attention where asked for, BN, ReLU, 3x3, tanh.

    Attributes:
      architecture: from `generator_architecture`.
      num_classes: of the labels; 0 for an unconditional generator, which ignores them.
      config: dtypes, initialiser, spectral norm and epsilons.
      attention: module definition of the attention layers, called with (config, name).
      conditioning: what the blocks are conditioned on, see models/conditioning.py.
      blocks: module definitions of the blocks, see models/blocks.py.

    Variables: `params`, `spectral_stats`, `batch_stats`; see `spectrally_normalized`, `BatchNorm`, `SelfAttention`.

    Reference: generator.py of the authors' code; parameter names are ours.
    """

    architecture: Architecture
    num_classes: int
    config: LayerConfig = DEFAULT_CONFIG
    attention: Attention = SelfAttention
    conditioning: Conditioning = ClassLabels
    blocks: Blocks = RESIDUAL

    @nn.compact
    def __call__(
        self,
        latents: Float[Array, "batch latent_size"] | Any,
        labels: Int[Array, " batch"] | Any = None,
        *,
        train: bool,
    ) -> Float[Array, "batch side side 3"]:
        """Makes images.

        Args:
          latents: [B, Z] floating point, standard normal; Z is fixed by `init`.
          labels: [B] integers in [0, num_classes); may be None where num_classes is 0.
          train: normalise by the moments of this batch; else by the running averages.

        Returns:
          images [B, H, W, 3] float32 in [-1, 1].

        Raises:
          ValueError: an argument has a wrong shape or dtype, or variables are missing.
        """
        check_latents(latents, self.variables.get("params", {}), self.conditioning is ClassLabels)
        check_labels(labels, self.num_classes, latents.shape[0])
        latents, labels = as_arrays(latents, labels)
        config, widths, resolutions = self.config, self.architecture.widths, self.architecture.resolutions
        conditioning = self.conditioning(config, self.num_classes, len(widths) - 1, name="conditioning")
        latents, conditions = conditioning(latents, labels)
        x = Dense(SEED_RESOLUTION**2 * widths[0], config, name="dense")(latents)
        x = x.reshape(-1, SEED_RESOLUTION, SEED_RESOLUTION, widths[0]).astype(config.compute_dtype)
        # A block that is rematerialised computes its insides again for its gradients.
        block: Any = self.blocks.generator
        if config.rematerialize:
            block = nn.remat(block, static_argnums=3)
        for index, condition in enumerate(conditions, start=1):
            name = f"block_{resolutions[index]}"
            x = block(widths[index], self.num_classes, config, name=name)(x, condition, train)
            x = after_block(self.architecture, index, config, self.attention, x)
        x = nn.relu(BatchNorm(config, name="norm")(x, train=train))
        x = Conv(IMAGE_CHANNELS, 3, config, name="to_image")(x)
        return jnp.tanh(x.astype(jnp.float32))


def build_generator(
    resolution: int,
    *,
    num_classes: int = 0,
    channels: int = 64,
    multipliers: tuple[int, ...] = (),
    attention_resolutions: tuple[int, ...] = (32,),
    local_block_resolutions: tuple[int, ...] = (),
    config: LayerConfig = DEFAULT_CONFIG,
    attention: Attention = SelfAttention,
    conditioning: Conditioning = ClassLabels,
    blocks: Blocks = RESIDUAL,
) -> Generator:
    """Builds a generator from plain arguments, see `generator_architecture` and `Generator`.

    Raises:
      InputError: a ValueError that names the argument.
    """
    check_num_classes(num_classes)
    architecture = generator_architecture(
        resolution, channels, multipliers, attention_resolutions, local_block_resolutions
    )
    return Generator(architecture, num_classes, config, attention, conditioning, blocks)
