"""An image with its attention layers, and what each layer does at a point of the image."""

from typing import NamedTuple

import numpy as np

from sagan_jax.exploring.choice import DECIMALS, Point
from sagan_jax.metrics.attention import attention_entropy, centres

SUGGESTED = 3  # points: a visitor can click one more before one has to move
ARROW_FROM = 2.0  # times a uniform weight; attention that is more uniform has no direction


class AttentionLayer(NamedTuple):
    """An attention layer at work on one image.

    Attributes:
      network: "generator" or "discriminator".
      side: of its feature map.
      gamma: factor of the layer's output, which is added to the features.
      weights: [L, M] float32, rows sum to 1; L = side * side queries, M keys.
      scale_max: upper end of the layer's colour scale, in multiples of a uniform weight 1 / M.
    """

    network: str
    side: int
    gamma: float
    weights: np.ndarray
    scale_max: float

    @property
    def name(self) -> str:
        """Such as "Generator 8×8"."""
        return f"{self.network.capitalize()} {self.side}×{self.side}"

    def query_at(self, point: Point) -> int:
        """Returns the index of the query whose cell covers a point."""
        x, y = (min(self.side - 1, int(fraction * self.side)) for fraction in point)
        return y * self.side + x

    def row_at(self, point: Point) -> np.ndarray:
        """Returns the attention weights [M] of a point."""
        return self.weights[self.query_at(point)]

    def entropy_at(self, point: Point) -> float:
        """Returns the entropy of a point's attention as a fraction of the largest, log M: 0 one key, 1 uniform."""
        row = self.row_at(point)
        return float(attention_entropy(row[None, None])[0, 0]) / np.log(len(row))

    def distance_at(self, point: Point, resolution: int) -> float:
        """Returns the mean distance from a point's query to the keys that it attends to, in pixels of the image."""
        queries, keys = (centres(count, resolution) for count in self.weights.shape)
        return float(self.row_at(point) @ np.linalg.norm(keys - queries[self.query_at(point)], axis=-1))

    def target_at(self, point: Point) -> Point | None:
        """Returns the centre of the key that a point attends to most, or None where none stands out."""
        row = self.row_at(point)
        if row.max() * len(row) < ARROW_FROM:
            return None
        x, y = centres(len(row), 1)[row.argmax()]
        return float(x), float(y)


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
    """Returns points at which the first layer's attention is focused, and differs from one to the next.

    The most focused query is the first; each following one has the largest product of its focus (log M minus its
    entropy) and its least total variation from those before it.
    """
    if not scene.layers:
        return []
    weights = scene.layers[0].weights
    focus = np.log(weights.shape[1]) - attention_entropy(weights[None])[0]
    chosen = [int(focus.argmax())]
    difference = np.full(len(focus), np.inf)
    while len(chosen) < SUGGESTED:
        difference = np.minimum(difference, np.abs(weights - weights[chosen[-1]]).sum(axis=1) / 2)
        chosen.append(int((focus * difference).argmax()))
    return [(round(float(x), DECIMALS), round(float(y), DECIMALS)) for x, y in centres(len(focus), 1)[chosen]]


def signed(value: float, decimals: int) -> str:
    """Writes a gamma or a logit such as "+1.18" or "−0.17", with a minus sign as wide as the plus."""
    return f"{value:+.{decimals}f}".replace("-", "−")
