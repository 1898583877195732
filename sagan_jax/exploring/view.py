"""Scenes as HTML: the image with its points, and for each layer where every point looks."""

import base64
import html

import numpy as np

from sagan_jax.exploring.heat import GREY, enlarged, heat, overlay, scale
from sagan_jax.exploring.marks import color, marks_svg
from sagan_jax.exploring.points import MOST_POINTS, Point, distance_at, entropy_at, query_at, target_at
from sagan_jax.exploring.scene import AttentionLayer, Scene
from sagan_jax.exploring.wording import layer_name, percent, signed
from sagan_jax.runtime.pictures import POINT_COLORS, encoded_png

DOT, SMALL_DOT = 0.026, 0.05  # radii as fractions of the picture's side
STOPS = ",".join(f"rgba({r},{g},{b},{opacity / 255:.2f})" for r, g, b, opacity in scale(9))
CLICK = '<span class="click"></span>'  # "Click", or "Tap" where there is no mouse
READING = """<dl class="reading">
<div><dt>Heat</dt><dd>1× is what an even look would give to each cell; below that nothing is drawn. Arrows lead to the
cell that a point looks at most, if one stands out.</dd></div>
<div><dt>γ</dt><dd>What attention finds is multiplied by it and added. At 0 the layer does nothing, however fine its map
looks.</dd></div>
<div><dt>Entropy</dt><dd>100 % looks everywhere alike, 0 % at one place.</dd></div>
<div><dt>Distance</dt><dd>How far away a point looks on average, in pixels of the image.</dd></div>
</dl>"""


def picture_html(scene: Scene) -> str:
    """The image as a variable of the page's style; what shows it refers to that, so clicks need not send it again."""
    return f"<style>:root{{--picture:url({_data(enlarged(scene.image))});--grey:{GREY}}}</style>"


def stage_html(scene: Scene, points: list[Point], caption: str) -> str:
    """The image, large, with its points."""
    marks = marks_svg(list(enumerate(points)), [None] * len(points), DOT)
    return (
        f'<figure><div class="tile" id="stage-image" role="img" aria-label="{html.escape(caption)}">'
        f'<i class="picture"></i>{marks}</div>'
        f"<figcaption><span>{html.escape(caption)}</span>{_verdict(scene.logit)}</figcaption></figure>"
    )


def layers_html(scene: Scene, points: list[Point]) -> str:
    """A card for each attention layer."""
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
    keys = round(layer.weights.shape[1] ** 0.5)
    most = f"{layer.most * keys**2:.2g}"
    name = layer.network.capitalize()
    return (
        f'<section class="layer" data-layer="{layer.network}_{layer.side}" aria-label="{layer_name(layer)}"><header>'
        f"<h3>{name} <small>{layer.side}×{layer.side} points, {keys}×{keys} cells to look at</small></h3>"
        f'<p class="scale">1× <i style="background-image:linear-gradient(90deg,{STOPS})"></i> {most}×</p>'
        f'<p class="gamma">γ <b>{signed(layer.gamma, 3)}</b></p></header>'
        f'<div class="maps">{_together(layer, points)}'
        f"{''.join(_map(layer, index, point, scene.image.shape[0]) for index, point in enumerate(points))}"
        f"{_invitation(points)}</div></section>"
    )


def _together(layer: AttentionLayer, points: list[Point]) -> str:
    """All points in one picture, as in figure 5 of the paper."""
    if not points:
        return ""
    rows = [layer.weights[query_at(layer, point)] for point in points]
    cells = overlay(rows, POINT_COLORS[: len(points)], layer.most)
    marks = marks_svg(list(enumerate(points)), [target_at(layer, point) for point in points], SMALL_DOT)
    picture = f'<img class="cells" alt="where all points look" src="{_data(cells)}">'
    return (
        f'<figure class="together"><div class="tile"><i class="picture"></i>{picture}{marks}</div>'
        "<figcaption><b>all points</b></figcaption></figure>"
    )


def _map(layer: AttentionLayer, index: int, point: Point, resolution: int) -> str:
    query = query_at(layer, point)
    cells = heat(layer.weights[query], layer.most)
    picture = f'<img class="cells" alt="where point {index + 1} looks" src="{_data(cells)}">'
    marks = marks_svg([(index, point)], [target_at(layer, point)], SMALL_DOT)
    return (
        f'<figure class="map" style="--point:{color(index)}" data-query="{query}">'
        f'<div class="tile"><i class="picture"></i>{picture}{marks}</div>'
        f"<figcaption><span>entropy <b>{percent(entropy_at(layer, point))}</b></span> "
        f"<span>distance <b>{distance_at(layer, point, resolution):.1f} px</b></span></figcaption></figure>"
    )


def _invitation(points: list[Point]) -> str:
    if len(points) == MOST_POINTS:
        return ""
    words = f"{CLICK} on the image for {'another' if points else 'a'} point"
    return f'<p class="invitation" style="--point:{color(len(points))}"><span>{words}</span></p>'


def _data(image: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(encoded_png(image)).decode()
