"""The projection discriminator: images and class labels to logits."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sagan_jax.models.architecture import Architecture, check_num_classes, discriminator_architecture
from sagan_jax.models.attention import SelfAttention
from sagan_jax.models.between_blocks import Attention, after_block
from sagan_jax.models.blocks import RESIDUAL, Blocks
from sagan_jax.models.inputs import as_arrays, check_images, check_labels
from sagan_jax.models.layers import DEFAULT_CONFIG, Dense, Embedding, LayerConfig


class Discriminator(nn.Module):
    """Residual blocks that halve the side, attention where asked for, ReLU, sum over space, projection.

    Attributes:
      architecture: from `discriminator_architecture`.
      num_classes: classes of the projection; 0 for an unconditional discriminator, which ignores labels.
      config: dtypes, initialiser, spectral norm and epsilons.
      attention: module definition of the attention layers, called with (config, name).
      inplace_relu: whether shortcuts see ReLU(x); of imported weights only, see `DiscriminatorBlock`.
      blocks: module definitions of the blocks, see models/blocks.py.

    Variables: `params`, `spectral_stats`; see `spectrally_normalized`, `SelfAttention`.

    Reference: discriminator.py of the authors' code; the projection is Miyato & Koyama
    2018 (arXiv:1802.05637), equation 3.
    """

    architecture: Architecture
    num_classes: int
    config: LayerConfig = DEFAULT_CONFIG
    attention: Attention = SelfAttention
    inplace_relu: bool = False
    blocks: Blocks = RESIDUAL

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch side side 3"] | Any, labels: Int[Array, " batch"] | Any = None
    ) -> Float[Array, " batch"]:
        """Scores images; the larger a logit, the more real the image.

        Args:
          images: [B, H, W, 3] floating point in [-1, 1].
          labels: [B] integers in [0, num_classes); may be None where num_classes is 0.

        Returns:
          logits [B] float32, unnormalised.

        Raises:
          ValueError: an argument has a wrong shape or dtype, or variables are missing.
        """
        config, widths, resolutions = self.config, self.architecture.widths, self.architecture.resolutions
        check_images(images, 2 * resolutions[0])
        check_labels(labels, self.num_classes, images.shape[0])
        x, labels = as_arrays(images, labels)
        stem: Any = self.blocks.stem
        block: Any = self.blocks.discriminator
        if config.rematerialize:  # the insides of a block are computed again for its gradients
            stem, block = nn.remat(stem), nn.remat(block)
        for index, (width, side) in enumerate(zip(widths, resolutions, strict=True)):
            if index == 0:
                x = stem(width, config, name="block_0")(x)
            else:
                downsample = side < resolutions[index - 1]
                x = block(width, downsample, config, self.inplace_relu, name=f"block_{index}")(x)
            x = after_block(self.architecture, index, config, self.attention, x)
        features = jnp.sum(nn.relu(x).astype(jnp.float32), axis=(1, 2))
        return self._logits(features, labels)

    def _logits(
        self, features: Float[Array, "batch channels"], labels: Int[Array, " batch"] | None
    ) -> Float[Array, " batch"]:
        """Maps features [B, C] float32 and labels [B] to logits [B], all in float32."""
        logits = Dense(1, self.config, name="logit")(features)[:, 0]
        if self.num_classes:
            assert labels is not None  # check_labels
            embedded = Embedding(self.num_classes, features.shape[-1], self.config, name="embedding")(labels)
            logits = logits + jnp.sum(features * embedded, axis=-1)
        return logits


def build_discriminator(
    resolution: int,
    *,
    num_classes: int = 0,
    channels: int = 64,
    multipliers: tuple[int, ...] = (),
    attention_resolutions: tuple[int, ...] = (32,),
    local_block_resolutions: tuple[int, ...] = (),
    final_resolution: int = 4,
    config: LayerConfig = DEFAULT_CONFIG,
    attention: Attention = SelfAttention,
    blocks: Blocks = RESIDUAL,
) -> Discriminator:
    """Builds a discriminator from plain arguments, see `discriminator_architecture` and `Discriminator`.

    Raises:
      InputError: a ValueError that names the argument.
    """
    check_num_classes(num_classes)
    architecture = discriminator_architecture(
        resolution, channels, multipliers, attention_resolutions, final_resolution, local_block_resolutions
    )
    return Discriminator(architecture, num_classes, config, attention, blocks=blocks)
