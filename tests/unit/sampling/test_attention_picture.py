"""Pictures of what points attend to."""

import numpy as np
import pytest

from sagan_jax.runtime.pictures import PAPER
from sagan_jax.sampling.attention import AttentionMaps
from sagan_jax.sampling.attention_picture import attention_picture, layer_line
from sagan_jax.sampling.heat import POINT_COLORS
from sagan_jax.sampling.numbers import times


def heat_of(weights):
    """The heat [N, 4, 4] from 0 to 255 of the first point's map of each image, whose keys are 4x4, and the picture."""
    count, tile = len(weights), 128
    images = np.zeros((count, 32, 32, 3), np.uint8)
    picture = attention_picture(images, AttentionMaps({"generator_8": weights}, {"generator_8": 0.5}), "title")
    left, cells = 4 + tile + 4, []
    for row in range(count):
        top = 30 + 24 + 30 + row * (tile + 18 + 4)
        whole = picture[top : top + tile, left : left + tile].reshape(4, 32, 4, 32, 3).swapaxes(1, 2)
        corners = whole[:, :, 4, 27], whole[:, :, 27, 4]  # beside the arrow, which goes down and to the right
        assert (corners[0] == corners[1]).all()  # cells have hard edges
        cells.append(corners[0].max(-1).astype(int))
    return np.stack(cells), picture


def test_attention_pictures_have_one_scale_for_a_layer_from_an_even_share_on():
    weights = np.full((2, 64, 16), 0.5 / 15, np.float32)
    weights[0, :, 5] = 0.5  # 8 times an even share
    weights[1] = 0.75 / 14
    weights[1, :, 5:7] = 0.125  # twice an even share
    (hot, warm), picture = heat_of(weights)
    assert hot[1, 1] > 150
    assert 30 < warm[1, 1] == warm[1, 2] < 0.6 * hot[1, 1]  # a third of the scale
    assert (np.delete(hot.reshape(-1), 5) == 0).all()  # below an even share there is nothing
    for color in POINT_COLORS:
        assert (picture == color).all(-1).any()


def test_even_attention_is_said_and_not_drawn():
    noise = 1 + 0.1 * np.random.default_rng(0).uniform(-1, 1, (1, 64, 16)).astype(np.float32)
    even = noise / noise.sum(axis=-1, keepdims=True)
    attention = AttentionMaps({"generator_8": even}, {"generator_8": -0.174})
    picture = attention_picture(np.zeros((1, 32, 32, 3), np.uint8), attention, "title").astype(int)
    of_blue_point = picture[84 : 84 + 128, 4 + 2 * 132 :][3:125, 3:125]
    assert not (of_blue_point[..., 0] > of_blue_point[..., 2] + 40).any()  # no heat
    assert (of_blue_point[53:69, 40:80] > 180).all(-1).any()  # the word
    assert layer_line("generator_8", attention, 32) == (
        "Generator 8×8, γ −0.174, entropy 100 %, mean distance 16.4 px, largest weight 1.1× that of even attention"
    )
    points = attention.layers("generator_8")[0].suggested_points(4)
    assert len(set(points)) == 4


def test_attention_picture_without_attention_says_so():
    picture = attention_picture(np.zeros((1, 32, 32, 3), np.uint8), AttentionMaps({}, {}), "title")
    assert (picture[30:55] < 120).all(-1).any()
    assert (picture[58:] == PAPER).all()


@pytest.mark.parametrize(
    ("written", "number"),
    [("1×", 1), ("1.4×", 1.43), ("9.9×", 9.94), ("10×", 9.96), ("22×", 21.8), ("123×", 123.4), ("1,024×", 1024)],
)
def test_multiples_are_written_for_people(written, number):
    assert times(number) == written
