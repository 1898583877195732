"""Where the networks attend on some images, and how much: maps, gammas and numbers, by layer."""

from typing import NamedTuple

import jax
import numpy as np

from sagan_jax.metrics.attention import attention_distance, attention_entropy
from sagan_jax.sampling.sampler import Tree


class AttentionMaps(NamedTuple):
    """Attention layers at work, by their network and side, such as "generator_32".

    Attributes:
      maps: weights [N, L, M] of each layer on N images, rows sum to 1.
      gammas: gamma of each layer.
    """

    maps: dict[str, np.ndarray]
    gammas: dict[str, float]

    def joined(self, other: "AttentionMaps") -> "AttentionMaps":
        """With the layers of another network."""
        return AttentionMaps(self.maps | other.maps, self.gammas | other.gammas)


def attention_of(network: str, maps: dict[str, np.ndarray], params: Tree) -> AttentionMaps:
    """The layers of "generator" or "discriminator".

    Args:
      network: which.
      maps: as it has sown them, by the names of its modules.
      params: its weights.
    """
    gammas = jax.device_get({layer: params[layer]["gamma"] for layer in maps})
    names = {layer: layer.replace("attention", network) for layer in maps}
    return AttentionMaps(
        {names[layer]: weights for layer, weights in maps.items()},
        {names[layer]: float(gamma) for layer, gamma in gammas.items()},
    )


def mean_entropy(weights: np.ndarray) -> float:
    """Of attention weights [N, L, M], in nats."""
    return float(attention_entropy(weights).mean())


def mean_distance(weights: np.ndarray, resolution: int) -> float:
    """How far attention weights [N, L, M] look, in pixels of images of this side."""
    return float(attention_distance(weights, resolution).mean())
