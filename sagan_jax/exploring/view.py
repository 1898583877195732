"""Scenes as HTML: the image with its points, and for each layer where every point looks."""

import base64
import html

import numpy as np
from PIL import Image

from sagan_jax.exploring.scene import Layer, Scene
from sagan_jax.metrics.attention import attention_distance, attention_entropy
from sagan_jax.runtime.pictures import POINT_COLORS, attention_picture, distinct_queries, encoded_png, heat_over

Point = tuple[float, float]  # x and y, each 0 to 1 from the upper left
MOST_POINTS = len(POINT_COLORS)
HEAT = 224  # pixels of a heat map's side


def query_at(layer: Layer, point: Point) -> int:
    """The query position that covers a point of the image."""
    x, y = (min(layer.side - 1, int(share * layer.side)) for share in point)
    return y * layer.side + x


def telling_points(scene: Scene) -> list[Point]:
    """Points whose attention differs most in the first layer, to begin with."""
    if not scene.layers:
        return []
    layer = scene.layers[0]
    queries = distinct_queries(layer.weights, 3)
    return [((query % layer.side + 0.5) / layer.side, (query // layer.side + 0.5) / layer.side) for query in queries]


def stage_html(scene: Scene, points: list[Point], caption: str) -> str:
    """The image, large, with its points."""
    side = scene.image.shape[0]
    crisp = " crisp" if side < 128 else ""
    return (
        f'<figure class="stage"><div class="tile big{crisp}" id="stage-image">{_img(scene.image, "the image")}'
        f"{''.join(_dot(point, index) for index, point in enumerate(points))}</div>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def layers_html(scene: Scene, points: list[Point]) -> str:
    """A card for each attention layer."""
    if not scene.layers:
        return '<p class="none">This model has no attention layer that could be shown.</p>'
    return "".join(_card(scene, layer, points) for layer in scene.layers)


def saved_picture(scene: Scene, points: list[Point], title: str) -> bytes:
    """The PNG of image, points and heat maps, as training draws it."""
    maps = {f"{layer.network}_{layer.side}": layer.weights[None] for layer in scene.layers}
    gates = {f"{layer.network}_{layer.side}": layer.gamma for layer in scene.layers}
    queries = {f"{layer.network}_{layer.side}": [query_at(layer, p) for p in points] for layer in scene.layers}
    return encoded_png(attention_picture(scene.image[None], maps, gates, title, queries))


def layer_numbers(layer: Layer, query: int, resolution: int) -> tuple[float, float]:
    """Entropy in nats and mean distance in pixels of one query."""
    weights = layer.weights[None]
    return float(attention_entropy(weights)[0, query]), float(attention_distance(weights, resolution)[0, query])


def _card(scene: Scene, layer: Layer, points: list[Point]) -> str:
    resolution = scene.image.shape[0]
    most = np.log(layer.weights.shape[1])
    figures = []
    for index, point in enumerate(points):
        query = query_at(layer, point)
        entropy, distance = layer_numbers(layer, query, resolution)
        heat = np.asarray(heat_over(_enlarged(scene.image), layer.weights[query]))
        figures.append(
            f'<figure style="--point:{_color(index)}" data-query="{query}"><div class="tile">'
            f"{_img(heat, f'where point {index + 1} looks')}{_dot(point, index)}</div>"
            f'<figcaption title="entropy {entropy:.2f} of at most {most:.2f} nats; mean distance in pixels">'
            f"<span>entropy {entropy / most:.0%}</span> <span>distance {distance:.1f} px</span></figcaption>"
            "</figure>"
        )
    body = "".join(figures) or '<p class="none">Click on the image to choose a point.</p>'
    strength = "is hardly used" if abs(layer.gamma) < 0.01 else "is added to what was there"
    return (
        f'<section class="layer" data-layer="{layer.network}_{layer.side}"><header>'
        f"<h3>{layer.network} <small>{layer.side} × {layer.side}</small></h3>"
        f'<p title="what attention finds, times gamma, {strength}">γ <b>{layer.gamma:+.3f}</b></p></header>'
        f'<div class="maps">{body}</div></section>'
    )


def _enlarged(image: np.ndarray) -> Image.Image:
    side = image.shape[0]
    factor = max(1, HEAT // side)
    return Image.fromarray(image).resize((side * factor, side * factor), Image.Resampling.NEAREST)


def _dot(point: Point, index: int) -> str:
    return f'<i class="dot" style="left:{point[0]:.2%};top:{point[1]:.2%};--point:{_color(index)}"></i>'


def _color(index: int) -> str:
    return "#" + "".join(f"{value:02x}" for value in POINT_COLORS[index])


def _img(image: np.ndarray, alternative: str) -> str:
    data = base64.b64encode(encoded_png(image)).decode()
    return f'<img alt="{html.escape(alternative)}" draggable="false" src="data:image/png;base64,{data}">'
