"""An attention layer at work on one image, and what it does at a point of it."""

from typing import NamedTuple

import numpy as np

from sagan_jax.metrics.attention import attention_entropy, centres

DECIMALS = 4  # of a point's coordinates: exact enough for feature maps of any side
ARROW_FROM = 2.0  # times a uniform weight; attention that is more uniform has no direction
EVEN = 1.25  # times a uniform weight; attention that nowhere has more is called even

Point = tuple[float, float]  # x and y, each 0 to 1 from the upper left


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

    @property
    def sides(self) -> str:
        """Such as "8×8 points attend to 4×4 cells"."""
        keys_side = round(self.weights.shape[1] ** 0.5)
        return f"{self.side}×{self.side} points attend to {keys_side}×{keys_side} cells"

    @property
    def is_even(self) -> bool:
        """Whether every point attends to all cells alike."""
        return _is_even(self.weights)

    def query_at(self, point: Point) -> int:
        """Returns the index of the query whose cell covers a point."""
        x, y = (min(self.side - 1, int(fraction * self.side)) for fraction in point)
        return y * self.side + x

    def row_at(self, point: Point) -> np.ndarray:
        """Returns the attention weights [M] of a point."""
        return self.weights[self.query_at(point)]

    def is_even_at(self, point: Point) -> bool:
        """Returns whether a point attends to all cells alike."""
        return _is_even(self.row_at(point))

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

    def suggested_points(self, count: int) -> list[Point]:
        """Returns points at which the attention is focused, and differs from one to the next.

        The most focused query is the first; each following one has the largest product of its focus (log M minus its
        entropy) and its least total variation from those before it.
        """
        focus = np.maximum(0, np.log(self.weights.shape[1]) - attention_entropy(self.weights[None])[0])
        chosen = [int(focus.argmax())]
        difference = np.full(len(focus), np.inf)
        while len(chosen) < min(count, len(focus)):
            difference = np.minimum(difference, np.abs(self.weights - self.weights[chosen[-1]]).sum(axis=1) / 2)
            gain = focus * difference
            gain[chosen] = -1  # also where attention is exactly even, each point is another one
            chosen.append(int(gain.argmax()))
        return [(round(float(x), DECIMALS), round(float(y), DECIMALS)) for x, y in centres(len(focus), 1)[chosen]]


def scale_end(weights: np.ndarray) -> float:
    """Returns the upper end of the colour scale of attention weights [..., M], in multiples of a uniform weight.

    It is the largest weight, and at least 2, so that noise about uniform attention stays dark.
    """
    return max(2.0, float(weights.max()) * weights.shape[-1])


def _is_even(weights: np.ndarray) -> bool:
    return float(weights.max()) * weights.shape[-1] < EVEN
