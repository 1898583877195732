"""The generator: latents and class labels to images."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from sagan_jax.models.architecture import SEED_RESOLUTION, Architecture
from sagan_jax.models.between_blocks import after_block
from sagan_jax.models.blocks import GeneratorBlock
from sagan_jax.models.conditional_norm import BatchNorm
from sagan_jax.models.layers import Conv, Dense, LayerConfig

IMAGE_CHANNELS = 3


class Generator(nn.Module):
    """Dense to 4x4, residual blocks that double the side, attention where asked for, BN, ReLU, 3x3, tanh.

    Attributes:
      architecture: from `generator_architecture`.
      num_classes: classes of the conditional batch norm; 0 ignores the labels.
      config: dtypes, initialiser and epsilons.

    Reference: generator.py of the authors' code; parameter names are ours.
    """

    architecture: Architecture
    num_classes: int
    config: LayerConfig = LayerConfig()

    @nn.compact
    def __call__(self, latents: jax.Array, labels: jax.Array, *, train: bool) -> jax.Array:
        """Makes images.

        Args:
          latents: [B, Z] float32, standard normal.
          labels: [B] int32 in [0, num_classes).
          train: normalise by the moments of this batch; else by the running averages.

        Returns:
          images [B, H, W, 3] float32 in [-1, 1].
        """
        widths, resolutions = self.architecture.widths, self.architecture.resolutions
        x = Dense(SEED_RESOLUTION**2 * widths[0], self.config, name="dense")(latents)
        x = x.reshape(-1, SEED_RESOLUTION, SEED_RESOLUTION, widths[0])
        # A block that is rematerialised computes its insides again for its gradients.
        block = nn.remat(GeneratorBlock, static_argnums=3) if self.config.rematerialize else GeneratorBlock
        for index in range(1, len(widths)):
            side = resolutions[index]
            x = block(widths[index], self.num_classes, self.config, name=f"block_{side}")(x, labels, train)
            x = after_block(self.architecture, index, self.config, x)
        x = nn.relu(BatchNorm(self.config, name="norm")(x, train=train))
        x = Conv(IMAGE_CHANNELS, 3, self.config, name="to_image")(x)
        return jnp.tanh(x.astype(jnp.float32))
