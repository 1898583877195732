"""Scenes as HTML: the image with its points, and for each layer what every point attends to."""

import base64
import html

import numpy as np

from sagan_jax.exploring.choice import MAX_POINTS
from sagan_jax.exploring.scene import Scene
from sagan_jax.runtime.pictures import encoded_png
from sagan_jax.sampling.attention_layer import AttentionLayer, Point
from sagan_jax.sampling.heat import (
    BRIGHTNESS,
    EVEN_WORD,
    POINT_COLORS,
    color_scale,
    css_color,
    enlarged,
    heat,
    marks_svg,
    overlay,
)
from sagan_jax.sampling.numbers import percent, signed, times

DOT, SMALL_DOT = 0.026, 0.05  # radii as fractions of the picture's side
STOPS = ",".join(f"rgba({r},{g},{b},{opacity / 255:.2f})" for r, g, b, opacity in color_scale(9))
CLICK = '<span class="click"></span>'  # "Click", or "Tap" where there is no mouse
ALL_EVEN = "Every point attends to all cells alike: there is nothing to draw."
EVEN_MARK = f'<span class="even"><b>{EVEN_WORD}</b></span>'
READING = """<dl class="reading">
<div><dt>Heat</dt><dd>1× is the weight of a cell under uniform attention; nothing is drawn below it. Arrows lead to the
cell that a point attends to most, if one stands out.</dd></div>
<div><dt>γ</dt><dd>What attention finds is multiplied by it and added. At 0 the layer does nothing, whatever its map
shows.</dd></div>
<div><dt>Entropy</dt><dd>100 % attends to all cells alike, 0 % to one.</dd></div>
<div><dt>Distance</dt><dd>Mean distance of the cells that a point attends to, in pixels of the image.</dd></div>
</dl>"""


def picture_html(scene: Scene) -> str:
    """Returns a style with the image as a variable: what shows the image refers to it, so clicks need not resend it."""
    return f"<style>:root{{--picture:url({_data(enlarged(scene.image))});--grey:{BRIGHTNESS}}}</style>"


def image_html(scene: Scene, points: list[Point], caption: str) -> str:
    """Draws the image, large, with its points."""
    marks = marks_svg(list(enumerate(points)), [None] * len(points), DOT)
    cells = max((layer.side for layer in scene.layers), default=16)
    keys = "arrow keys move a cross, Enter sets a point there"
    return (
        f'<figure><div class="tile" id="stage-image" role="application" tabindex="0" data-cells="{cells}"'
        f' aria-label="{html.escape(caption)}: {keys}">'
        f'<i class="picture"></i>{marks}</div>'
        f"<figcaption><span>{html.escape(caption)}</span>{_verdict(scene.logit)}</figcaption></figure>"
    )


def notice_html(notice: str) -> str:
    """Says what is wrong, or nothing."""
    return f'<p class="notice" role="alert">{html.escape(notice)}</p>' if notice else ""


def layers_html(scene: Scene, points: list[Point]) -> str:
    """Draws a card for each attention layer."""
    if not scene.layers:
        return '<p class="none">This model has no attention layer that could be shown.</p>'
    return "".join(_card(scene, layer, points) for layer in scene.layers)


def _verdict(logit: float | None) -> str:
    if logit is None:
        return ""
    word = "real" if logit > 0 else "fake"
    meaning = "the discriminator takes images above 0 for real, those below for generated"
    return f'<span class="verdict {word}" title="{meaning}">Discriminator <b>{signed(logit, 2)}</b> {word}</span>'


def _card(scene: Scene, layer: AttentionLayer, points: list[Point]) -> str:
    stops = f"background-image:linear-gradient(90deg,{STOPS})"
    scale = f'<p class="scale">1× <i style="{stops}"></i> {times(layer.scale_max)}</p>'
    if layer.is_even:
        scale, maps = "", f'<p class="none">{ALL_EVEN}</p>'
    else:
        maps = "".join(_map(layer, index, point, scene.image.shape[0]) for index, point in enumerate(points))
        maps = f'<div class="maps">{_all_points(layer, points)}{maps}{_invitation(points)}</div>'
    return (
        f'<section class="layer" data-layer="{layer.network}_{layer.side}" aria-label="{layer.name}"><header>'
        f"<h3>{layer.network.capitalize()} <small>{layer.sides}</small></h3>{scale}"
        f'<p class="gamma">γ <b>{signed(layer.gamma, 3)}</b></p></header>{maps}</section>'
    )


def _all_points(layer: AttentionLayer, points: list[Point]) -> str:
    """Draws all points in one picture, as figure 5 of the paper."""
    if not points:
        return ""
    marks = marks_svg(list(enumerate(points)), [layer.target_at(point) for point in points], SMALL_DOT)
    if all(layer.is_even_at(point) for point in points):
        picture = EVEN_MARK
    else:
        cells = overlay([layer.row_at(point) for point in points], POINT_COLORS[: len(points)])
        picture = f'<img class="cells" alt="what all points attend to most" src="{_data(cells)}">'
    return (
        f'<figure class="together"><div class="tile"><i class="picture"></i>{picture}{marks}</div>'
        "<figcaption><b>all points</b></figcaption></figure>"
    )


def _map(layer: AttentionLayer, index: int, point: Point, resolution: int) -> str:
    marks = marks_svg([(index, point)], [layer.target_at(point)], SMALL_DOT)
    if layer.is_even_at(point):
        picture = EVEN_MARK
    else:
        cells = _data(heat(layer.row_at(point), layer.scale_max))
        picture = f'<img class="cells" alt="what point {index + 1} attends to" src="{cells}">'
    return (
        f'<figure class="map" style="--point:{css_color(index)}" data-query="{layer.query_at(point)}">'
        f'<div class="tile"><i class="picture"></i>{picture}{marks}</div>'
        f"<figcaption><span>entropy <b>{percent(layer.entropy_at(point))}</b></span> "
        f"<span>distance <b>{layer.distance_at(point, resolution):.1f} px</b></span></figcaption></figure>"
    )


def _invitation(points: list[Point]) -> str:
    if len(points) == MAX_POINTS:
        return ""
    words = f"{CLICK} on the image for {'another' if points else 'a'} point"
    return f'<p class="invitation" style="--point:{css_color(len(points))}"><span>{words}</span></p>'


def _data(image: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(encoded_png(image)).decode()
