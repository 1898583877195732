"""Pixel blitting, geometric and color changes, each of them made with some probability.

Reference: Karras et al. 2020 (arXiv:2006.06676), appendix B, with the strengths of the authors' code (augment.py of
stylegan2-ada-pytorch). There an image is resampled with a wavelet filter at twice its side; here see `affine`. Of the
paper's pipeline, filters and noise are left out, which it found to be of no use; `cutout` is in diffaugment.py.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from sagan_jax.augmentation.affine import affine

Image = Float[Array, "side side 3"]
Probability = Float[Array, ""] | float

MOST_MOVED = 0.125  # of the side, by whole pixels; and the standard deviation of moves by fractions of a pixel
SCALE_DEVIATION = 0.2  # of the binary logarithm of both scalings
BRIGHTNESS_DEVIATION = 0.2
CONTRAST_DEVIATION = 0.5  # of the binary logarithm
SATURATION_DEVIATION = 1.0  # of the binary logarithm


def bgc(image: Image, key: PRNGKeyArray, probability: Probability) -> Image:
    """Mirrors, turns, moves and scales an image [H, H, 3] in [-1, 1], then changes its colors.

    Args:
      image: [H, H, 3].
      key: of all its changes.
      probability: of each of them, by itself; at 0 the image comes back as it is.
    """
    geometry_key, color_key = jax.random.split(key)
    image = affine(image, *geometry(len(image), geometry_key, probability))
    matrix, offset = colors(color_key, probability)
    return jnp.einsum("hwc,dc->hwd", image, matrix, precision=jax.lax.Precision.HIGHEST) + offset[None, None]


def geometry(side: int, key: PRNGKeyArray, probability: Probability) -> tuple[Float[Array, "2 2"], Float[Array, " 2"]]:
    """Draws the map from places of the result to places of the image, for `affine`.

    A turn by any angle comes before or after the scaling along one axis, each with a probability at which one of them
    or both do with `probability`.
    """
    gate_key, uniform_key, normal_key = jax.random.split(key, 3)
    gates = jax.random.uniform(gate_key, (8,))
    uniform = jax.random.uniform(uniform_key, (6,))
    normal = jax.random.normal(normal_key, (4,))

    made = gates < probability
    turned = gates < 1 - jnp.sqrt(1 - probability)
    right_angles = jnp.where(made[1], jnp.floor(4 * uniform[1]), 0) * (jnp.pi / 2)
    angles = jnp.where(turned[4:6], (2 * uniform[4:6] - 1) * jnp.pi, 0)
    scale = jnp.where(made[3], jnp.exp2(SCALE_DEVIATION * normal[0]), 1)
    stretch = jnp.where(made[6], jnp.exp2(SCALE_DEVIATION * normal[1]), 1)
    whole_move = jnp.where(made[2], jnp.round((2 * uniform[2:4] - 1) * MOST_MOVED * side), 0)
    move = jnp.where(made[7], normal[2:4] * MOST_MOVED * side, 0)
    mirror = jnp.where(made[0] & (uniform[0] < 0.5), -1.0, 1.0)

    first = jnp.round(_rotation(right_angles)) * jnp.stack([mirror, 1.0])[:, None]
    second = _product(_rotation(angles[0]) * jnp.stack([1 / stretch, stretch])[None] / scale, _rotation(angles[1]))
    return _product(first, second), _product(first, -whole_move - _product(second, move))


def colors(key: PRNGKeyArray, probability: Probability) -> tuple[Float[Array, "3 3"], Float[Array, " 3"]]:
    """Draws the map of a pixel's colors: brightness, contrast, light for dark, hue and saturation."""
    gate_key, normal_key, uniform_key = jax.random.split(key, 3)
    made = jax.random.uniform(gate_key, (5,)) < probability
    normal = jax.random.normal(normal_key, (3,))
    uniform = jax.random.uniform(uniform_key, (2,))

    grey = jnp.full((3, 3), 1 / 3)  # projects on the axis of greys
    brightness = jnp.where(made[0], BRIGHTNESS_DEVIATION * normal[0], 0)
    contrast = jnp.where(made[1], jnp.exp2(CONTRAST_DEVIATION * normal[1]), 1)
    inverted = made[2] & (uniform[0] < 0.5)
    hue = jnp.where(made[3], (2 * uniform[1] - 1) * jnp.pi, 0)
    saturation = jnp.where(made[4], jnp.exp2(SATURATION_DEVIATION * normal[2]), 1)
    # All of them act on greys and on what differs from them apart.
    greys = jnp.where(inverted, -contrast, contrast)
    across = jnp.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / jnp.sqrt(3.0)
    tints = contrast * saturation * (jnp.cos(hue) * (jnp.eye(3) - grey) + jnp.sin(hue) * across)
    return greys * grey + tints, jnp.full(3, greys * brightness)


def _rotation(angle: Float[Array, ""]) -> Float[Array, "2 2"]:
    return jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])


def _product(left: Float[Array, "..."], right: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
