"""Attention weights and gammas of a network's layers, and the numbers that summarise them."""

from typing import NamedTuple

import jax
import numpy as np

from sagan_jax.metrics.attention import attention_distance, attention_entropy
from sagan_jax.sampling.attention_layer import AttentionLayer, scale_end
from sagan_jax.sampling.sampler import Tree


class AttentionMaps(NamedTuple):
    """Attention layers by network and side, such as "generator_32".

    Attributes:
      maps: each layer's weights [N, L, M] float32 on N images; L query and M key positions, rows sum to 1.
      gammas: each layer's gamma, the factor of what its attention finds.
    """

    maps: dict[str, np.ndarray]
    gammas: dict[str, float]

    def joined(self, other: "AttentionMaps") -> "AttentionMaps":
        """Returns the layers of both."""
        return AttentionMaps(self.maps | other.maps, self.gammas | other.gammas)

    def layers(self, name: str) -> list[AttentionLayer]:
        """Returns one layer at work on each of the images, with one colour scale for all of them."""
        weights, network = self.maps[name], name.partition("_")[0]
        side, end = round(weights.shape[1] ** 0.5), scale_end(weights)
        return [AttentionLayer(network, side, self.gammas[name], of_image, end) for of_image in weights]


def attention_of(network: str, maps: dict[str, np.ndarray], params: Tree) -> AttentionMaps:
    """Returns the layers of one network.

    Args:
      network: "generator" or "discriminator".
      maps: attention weights by the names of its layers.
      params: its weights.
    """
    gammas = jax.device_get({layer: params[layer]["gamma"] for layer in maps})
    names = {layer: layer.replace("attention", network) for layer in maps}
    return AttentionMaps(
        {names[layer]: weights for layer, weights in maps.items()},
        {names[layer]: float(gamma) for layer, gamma in gammas.items()},
    )


def mean_entropy(weights: np.ndarray) -> float:
    """Returns the mean entropy of attention weights [N, L, M] in nats."""
    return float(attention_entropy(weights).mean())


def mean_distance(weights: np.ndarray, resolution: int) -> float:
    """Returns how far attention weights [N, L, M] reach on average, in pixels of images of this side."""
    return float(attention_distance(weights, resolution).mean())
