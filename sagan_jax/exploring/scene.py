"""An image with its attention layers, and the points that the page suggests on it."""

from typing import NamedTuple

import numpy as np

from sagan_jax.sampling.attention_layer import AttentionLayer, Point

SUGGESTED = 3  # points: a visitor can click one more before one has to move


class Scene(NamedTuple):
    """An image and its attention layers, in the order in which they work.

    Attributes:
      image: [H, W, 3] uint8.
      layers: of both networks.
      logit: of the discriminator, or None where there is none.
    """

    image: np.ndarray
    layers: tuple[AttentionLayer, ...]
    logit: float | None

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self.image.nbytes + sum(layer.weights.nbytes for layer in self.layers)


def suggest_points(scene: Scene) -> list[Point]:
    """Returns points at which the first layer's attention is focused, and differs from one to the next."""
    return scene.layers[0].suggested_points(SUGGESTED) if scene.layers else []
