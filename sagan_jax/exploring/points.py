"""Points of an image, and what an attention layer does at one of them."""

import math

import numpy as np

from sagan_jax.exploring.scene import AttentionLayer, Scene
from sagan_jax.metrics.attention import attention_entropy, centres
from sagan_jax.runtime.pictures import POINT_COLORS

Point = tuple[float, float]  # x and y, each 0 to 1 from the upper left
MOST_POINTS = len(POINT_COLORS)
SUGGESTED = 3  # points; so that one more can be clicked before one has to move
DECIMALS = 4  # of a point's coordinates: exact enough for features of any side, and what a link says
ARROW_FROM = 2.0  # times an even weight; a look that is more alike everywhere has no direction


def with_point(points: list[Point], new: Point) -> list[Point]:
    """The points and a new one; where there are as many as there can be, the nearest moves there, with its colour."""
    if len(points) < MOST_POINTS:
        return [*points, new]
    nearest = min(range(len(points)), key=lambda index: math.dist(points[index], new))
    return [*points[:nearest], new, *points[nearest + 1 :]]


def query_at(layer: AttentionLayer, point: Point) -> int:
    """The query position that covers a point of the image."""
    x, y = (min(layer.side - 1, int(fraction * layer.side)) for fraction in point)
    return y * layer.side + x


def entropy_at(layer: AttentionLayer, point: Point) -> float:
    """Entropy of the point's attention as a fraction of the largest possible: 0 one place, 1 everywhere alike."""
    query = query_at(layer, point)
    row = layer.weights[None, query : query + 1]
    return float(attention_entropy(row)[0, 0]) / np.log(row.shape[-1])


def distance_at(layer: AttentionLayer, point: Point, resolution: int) -> float:
    """How far from its query the point looks on average, in pixels of an image of this resolution."""
    queries, keys = (centres(count, resolution) for count in layer.weights.shape)
    query = query_at(layer, point)
    return float(layer.weights[query] @ np.linalg.norm(keys - queries[query], axis=-1))


def target_at(layer: AttentionLayer, point: Point) -> Point | None:
    """The middle of the position that a point looks at most, or None where no position stands out."""
    row = layer.weights[query_at(layer, point)]
    if row.max() * len(row) < ARROW_FROM:
        return None
    x, y = centres(len(row), 1)[row.argmax()]
    return float(x), float(y)


def suggest_points(scene: Scene) -> list[Point]:
    """Points to begin with: where the first layer looks at something, and each at something else.

    The most focused query is the first; each following one has the largest product of its focus (what its entropy lacks
    of the largest possible) and its least total variation from those before it.
    """
    if not scene.layers:
        return []
    layer = scene.layers[0]
    focus = np.log(layer.weights.shape[1]) - attention_entropy(layer.weights[None])[0]
    chosen = [int(focus.argmax())]
    difference = np.full(len(focus), np.inf)
    while len(chosen) < SUGGESTED:
        difference = np.minimum(difference, np.abs(layer.weights - layer.weights[chosen[-1]]).sum(axis=1) / 2)
        chosen.append(int((focus * difference).argmax()))
    return [(round(float(x), DECIMALS), round(float(y), DECIMALS)) for x, y in centres(len(focus), 1)[chosen]]
