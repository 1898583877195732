"""The projection discriminator: images and class labels to logits."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from sagan_jax.models.architecture import Architecture
from sagan_jax.models.between_blocks import after_block
from sagan_jax.models.blocks import DiscriminatorBlock, DiscriminatorStem
from sagan_jax.models.layers import Dense, Embedding, LayerConfig


class Discriminator(nn.Module):
    """Residual blocks that halve the side, attention where asked for, ReLU, sum over space, projection.

    Attributes:
      architecture: from `discriminator_architecture`.
      num_classes: classes of the projection; 0 ignores the labels.
      config: dtypes, initialiser and epsilons.
      inplace_relu: whether shortcuts see ReLU(x); of imported weights only, see `DiscriminatorBlock`.

    Reference: discriminator.py of the authors' code; the projection is Miyato & Koyama
    2018 (arXiv:1802.05637), equation 3.
    """

    architecture: Architecture
    num_classes: int
    config: LayerConfig = LayerConfig()
    inplace_relu: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, labels: jax.Array) -> jax.Array:
        """Judges images.

        Args:
          images: [B, H, W, 3] float32 in [-1, 1].
          labels: [B] int32 in [0, num_classes).

        Returns:
          logits [B] float32, unnormalised; the larger, the more real.
        """
        widths, resolutions = self.architecture.widths, self.architecture.resolutions
        stem, block = DiscriminatorStem, DiscriminatorBlock
        if self.config.rematerialize:  # the insides of a block are computed again for its gradients
            stem, block = nn.remat(stem), nn.remat(block)
        x = images
        for index, (width, side) in enumerate(zip(widths, resolutions, strict=True)):
            if index == 0:
                x = stem(width, self.config, name="block_0")(x)
            else:
                downsample = side < resolutions[index - 1]
                x = block(width, downsample, self.config, self.inplace_relu, name=f"block_{index}")(x)
            x = after_block(self.architecture, index, self.config, x)
        features = jnp.sum(nn.relu(x).astype(jnp.float32), axis=(1, 2))
        return self._logits(features, labels)

    def _logits(self, features: jax.Array, labels: jax.Array) -> jax.Array:
        """features [B, C] float32, labels [B] -> logits [B], all in float32."""
        exact = dataclasses.replace(self.config, compute_dtype=jnp.float32)
        logits = Dense(1, exact, name="logit")(features)[:, 0]
        if self.num_classes:
            embedded = Embedding(self.num_classes, features.shape[-1], exact, name="embedding")(labels)
            logits = logits + jnp.sum(features * embedded, axis=-1)
        return logits
