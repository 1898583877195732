"""One image of the explorer with the attention that made it, and the attention of the one that judges it."""

import dataclasses
from typing import NamedTuple

import numpy as np

NO_TRUNCATION = 3.0  # of the page's slider; at most 3 numbers in 1,000 lie beyond it, and none are drawn again


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a person has chosen; the page's permalink.

    Attributes:
      label, seed, truncation: of the image.
      other_seed, walk: on the way to this seed's latent, and how far.
      other_label, mix: mixed with this class, and how much of it.
    """

    label: int = 0
    seed: int = 0
    truncation: float = NO_TRUNCATION
    other_seed: int = 1
    walk: float = 0.0
    other_label: int = 0
    mix: float = 0.0


class AttentionLayer(NamedTuple):
    """An attention layer at work on one image.

    Attributes:
      network: "generator" or "discriminator".
      side: of its feature map.
      gamma: how much of what it finds is added.
      weights: [L, M] float32, rows sum to 1; L = side * side.
      most: the largest of these weights, at least twice an even share: the upper end of the layer's colour scale.
    """

    network: str
    side: int
    gamma: float
    weights: np.ndarray
    most: float


class Scene(NamedTuple):
    """An image and its attention layers, in the order in which they work.

    Attributes:
      image: [H, W, 3] uint8.
      layers: of both networks.
      logit: how real the discriminator finds it, or None where there is none.
    """

    image: np.ndarray
    layers: tuple[AttentionLayer, ...]
    logit: float | None

    @property
    def nbytes(self) -> int:
        """Of its arrays."""
        return self.image.nbytes + sum(layer.weights.nbytes for layer in self.layers)
