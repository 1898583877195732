"""What the generator's blocks are conditioned on: class labels, a shared embedding, or the latents with it.

Each is a module (config, num_classes, num_blocks) that maps latents [B, Z] and labels [B] to the latents of the first
layer and one condition per block, as `BatchNorm` takes it: None, labels [B] int, or vectors [B, N] float32.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sagan_jax.models.conditional_norm import Condition
from sagan_jax.models.layers import Embedding, LayerConfig

Conditioning = Callable[..., nn.Module]


class ClassLabels(nn.Module):
    """The label itself: each batch norm has a gain and a bias per class, as in the authors' code."""

    config: LayerConfig
    num_classes: int
    num_blocks: int

    def __call__(
        self, latents: Float[Array, "batch latent_size"], labels: Int[Array, " batch"] | None
    ) -> tuple[Float[Array, "batch _"], list[Condition]]:
        return latents, [labels if self.num_classes else None] * self.num_blocks


class SharedEmbedding(nn.Module):
    """One embedding per class, of which each batch norm makes gain and bias by an affine map.

    It has no spectral norm, as in the authors' code (model.py of BigGAN-PyTorch).

    Reference: Brock et al. 2018 (arXiv:1809.11096), section 3.1.
    """

    config: LayerConfig
    num_classes: int
    num_blocks: int
    features: int = 128

    @nn.compact
    def __call__(
        self, latents: Float[Array, "batch latent_size"], labels: Int[Array, " batch"] | None
    ) -> tuple[Float[Array, "batch _"], list[Condition]]:
        if not self.num_classes:
            return latents, [None] * self.num_blocks
        assert labels is not None  # check_labels
        config = dataclasses.replace(self.config, spectral_norm=())
        embedding = Embedding(self.num_classes, self.features, config, name="embedding")(labels)
        return latents, [embedding] * self.num_blocks


class HierarchicalLatents(nn.Module):
    """A piece of the latents for the first layer and for each block, there beside the shared embedding.

    The first layer gets what is left where the pieces do not come out even.

    Reference: Brock et al. 2018 (arXiv:1809.11096), section 3.1.
    """

    config: LayerConfig
    num_classes: int
    num_blocks: int
    features: int = 128

    @nn.compact
    def __call__(
        self, latents: Float[Array, "batch latent_size"], labels: Int[Array, " batch"] | None
    ) -> tuple[Float[Array, "batch _"], list[Condition]]:
        size = latents.shape[-1] // (self.num_blocks + 1)
        if not size:
            raise ValueError(
                f"latents of length {latents.shape[-1]} cannot be cut into {self.num_blocks + 1} pieces, one for the"
                f" first layer and one per block: use a latent_size of at least {self.num_blocks + 1}."
            )
        shared = SharedEmbedding(self.config, self.num_classes, self.num_blocks, self.features, name="shared")
        _, embeddings = shared(latents, labels)
        first, *pieces = jnp.split(latents, [latents.shape[-1] - size * n for n in range(self.num_blocks, 0, -1)], -1)
        return first, [_joined(piece, embedding) for piece, embedding in zip(pieces, embeddings, strict=True)]


class WholeLatents(nn.Module):
    """All of the latents with the shared embedding, for the first layer and for every block.

    Reference: Brock et al. 2018 (arXiv:1809.11096), appendix B, BigGAN-deep.
    """

    config: LayerConfig
    num_classes: int
    num_blocks: int
    features: int = 128

    @nn.compact
    def __call__(
        self, latents: Float[Array, "batch latent_size"], labels: Int[Array, " batch"] | None
    ) -> tuple[Float[Array, "batch _"], list[Condition]]:
        shared = SharedEmbedding(self.config, self.num_classes, 1, self.features, name="shared")
        _, (embedding,) = shared(latents, labels)
        joined = _joined(latents, embedding)
        return joined, [joined] * self.num_blocks


def _joined(latents: jax.Array, embedding: jax.Array | None) -> jax.Array:
    return latents if embedding is None else jnp.concatenate([latents, embedding], axis=-1)


CONDITIONINGS: dict[str, Conditioning] = {
    "labels": ClassLabels,
    "shared embedding": SharedEmbedding,
    "hierarchical latents": HierarchicalLatents,
    "whole latents": WholeLatents,
}
