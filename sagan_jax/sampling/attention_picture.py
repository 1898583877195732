"""Draws what marked points of images attend to, in every layer: the picture of training, of reports and of samples."""

import numpy as np
from PIL import Image, ImageDraw

from sagan_jax.runtime.pictures import GAP, HEAD, INK, font, tile_side, titled_canvas, with_larger_pixels
from sagan_jax.sampling.attention import AttentionMaps, mean_distance, mean_entropy
from sagan_jax.sampling.attention_layer import AttentionLayer, Point
from sagan_jax.sampling.heat import POINT_COLORS, attended_map, draw_scale, with_marks
from sagan_jax.sampling.numbers import percent, signed, times

LEAST_TILE = 128  # pixels
COLUMNS, SECTION, CAPTION = 24, 30, 18  # heights in pixels: of the columns' names, a layer's heading, a map's caption
DOT = 0.042  # radius as a fraction of a tile
QUIET = (110, 110, 105)
MEANING = (
    "1× is the weight of a cell where all are attended to alike; nothing is drawn below it. A layer has one scale.",
    "Entropy 100 % attends to all cells alike, 0 % to one. γ multiplies what attention finds: at 0 the layer is off.",
)


def attention_picture(images: np.ndarray, attention: AttentionMaps, title: str) -> np.ndarray:
    """Draws for each attention layer and image the image with marked points, then what each point attends to.

    The points are those at which a layer's attention is focused, each on something else than the others.

    Args:
      images: [N, H, W, 3] uint8.
      attention: of its layers on these images.
      title: one line above everything.

    Returns:
      [height, width, 3] uint8.
    """
    count, tile = len(images), tile_side(images.shape[1], LEAST_TILE)
    width = max((len(POINT_COLORS) + 1) * (tile + GAP) + GAP, 16 + max(int(font(11).getlength(t)) for t in MEANING))
    section = SECTION + count * (tile + CAPTION + GAP)
    foot = 12 + 16 * len(MEANING)
    names = list(attention.maps)
    canvas, draw = titled_canvas(title, width, COLUMNS + (len(names) * section + foot if names else GAP))
    if not names:
        draw.text((8, HEAD + 12), "no layer of attention", INK, font(12), anchor="lm")
        return np.asarray(canvas)
    _draw_column_names(draw, tile)
    for index, name in enumerate(names):
        top = HEAD + COLUMNS + index * section
        layers = attention.layers(name)
        _draw_heading(canvas, top, layers[0], attention.maps[name], images.shape[1])
        for row, (image, layer) in enumerate(zip(images, layers, strict=True)):
            _draw_image(canvas, top + SECTION + row * (tile + CAPTION + GAP), with_larger_pixels(image, tile), layer)
    for line, text in enumerate(MEANING):
        draw.text((8, canvas.height - foot + 12 + 16 * line), text, QUIET, font(11), anchor="lm")
    return np.asarray(canvas)


def layer_line(name: str, attention: AttentionMaps, resolution: int) -> str:
    """Says in a line what an attention layer did on all images, whose side is `resolution`, at all of their points."""
    layer, weights = attention.layers(name)[0], attention.maps[name]
    largest = times(float(weights.max()) * weights.shape[-1])
    return f"{layer.name}, {_facts(layer, weights, resolution)}, largest weight {largest} that of even attention"


def _facts(layer: AttentionLayer, weights: np.ndarray, resolution: int) -> str:
    entropy = percent(mean_entropy(weights) / np.log(weights.shape[-1]))
    return f"γ {signed(layer.gamma, 3)}, entropy {entropy}, mean distance {mean_distance(weights, resolution):.1f} px"


def _draw_heading(canvas: Image.Image, top: int, layer: AttentionLayer, weights: np.ndarray, resolution: int) -> None:
    """Writes a layer's name, numbers and colour scale over its maps."""
    draw, middle = ImageDraw.Draw(canvas), top + SECTION // 2
    draw.text((8, middle), layer.network.capitalize(), INK, font(12, bold=True), anchor="lm")
    left = 16 + font(12, bold=True).getlength(layer.network.capitalize())
    draw.text((left, middle), f"{layer.side}×{layer.side}, {_facts(layer, weights, resolution)}", INK, font(12), "lm")
    draw_scale(canvas, (canvas.width - 8, middle), times(layer.scale_max), font(12))


def _draw_image(canvas: Image.Image, top: int, image: Image.Image, layer: AttentionLayer) -> None:
    """Draws a row: an image with its points, then a map of each with its entropy."""
    draw, tile = ImageDraw.Draw(canvas), image.width
    points: list[Point] = layer.suggested_points(len(POINT_COLORS))
    canvas.paste(with_marks(image, list(enumerate(points)), [None] * len(points), DOT), (GAP, top))
    for index, point in enumerate(points):
        left = GAP + (index + 1) * (tile + GAP)
        canvas.paste(attended_map(image, layer, index, point, DOT), (left, top))
        draw.rectangle((left, top, left + tile - 1, top + tile - 1), outline=POINT_COLORS[index], width=2)
        caption = f"entropy {percent(layer.entropy_at(point))}"
        draw.text((left + tile // 2, top + tile + CAPTION // 2), caption, QUIET, font(11), anchor="mm")


def _draw_column_names(draw: ImageDraw.ImageDraw, tile: int) -> None:
    """Writes over the columns "points", then "what ● attends to" with a dot in the colour of each point."""
    middle, words = HEAD + COLUMNS // 2, font(12)
    draw.text((GAP + tile // 2, middle), "points", INK, words, anchor="mm")
    for column, color in enumerate(POINT_COLORS, start=1):
        left = GAP + column * (tile + GAP) + (tile - words.getlength("what ● attends to")) // 2
        for text, ink in (("what ", INK), ("●", color), (" attends to", INK)):
            draw.text((left, middle), text, ink, words, anchor="lm")
            left += words.getlength(text)
