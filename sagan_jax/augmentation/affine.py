"""Affine maps of an image without gathering pixels, whose gradients are slow on accelerators and not reproducible.

In two passes (Catmull & Smith 1980): along the columns, then along the rows. What each does to a line of pixels is a
product with weights that the compiler makes where it needs them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Image = Float[Array, "side side channels"]


def affine(image: Image, matrix: Float[Array, "2 2"], offset: Float[Array, " 2"]) -> Image:
    """Returns the image whose pixel at (x, y) is that of `image` at matrix (x, y) + offset, from the centre, in pixels.

    Linear interpolation, over as many pixels as the map moves apart. The image goes on beyond its edges as its mirror
    image, sheared where the map shears. The identity, mirroring, turns by right angles and moves by whole pixels are
    exact.

    Args:
      image: [H, H, C], rows first.
      matrix: x and y of the source from x and y of the result; not singular.
      offset: x and y.
    """
    # The first pass is well-conditioned where x depends on x at least as much as on y; else the result is transposed.
    transposed = jnp.abs(matrix[0, 0]) < jnp.abs(matrix[0, 1])
    (a, b), (c, d) = jnp.where(transposed, matrix[:, ::-1], matrix)
    centre = (len(image) - 1) / 2
    across = (jnp.arange(len(image), dtype=jnp.float32) - centre)[:, None]
    along = across.T
    slope = c / a
    rows = slope * (across - offset[0]) + (d - slope * b) * along + offset[1]
    columns = a * along + b * across + offset[0]
    # [column, row, C] -> the same with the rows of the result, then [row, column of the result, C].
    image = interpolate(image.swapaxes(0, 1), rows + centre, jnp.abs(d - slope * b))
    image = interpolate(image.swapaxes(0, 1), columns + centre, jnp.abs(a))
    return jnp.where(transposed, image.swapaxes(0, 1), image)


def interpolate(
    lines: Float[Array, "lines length channels"], places: Float[Array, "lines places"], spacing: Float[Array, ""]
) -> Float[Array, "lines places channels"]:
    """Returns each line of pixels at places of its own, in pixels from its first.

    Weights fall to 0 at a pixel's distance, or at `spacing` pixels, the distance of the places, where that is more.
    """
    last = lines.shape[1] - 1
    mirrored = jnp.abs(jnp.mod(places + last, 2 * last) - last)
    pixels = jnp.arange(lines.shape[1], dtype=jnp.float32)[None, None]
    distances = jnp.abs(mirrored[:, :, None] - pixels)
    weights = jax.nn.relu(1 - distances * (1 / jnp.maximum(spacing, 1)))
    # A sum of products and no matrix product, so that the weights are never written to memory.
    total = jnp.sum(weights[..., None] * lines[:, None], axis=2)
    return total / jnp.sum(weights, axis=2)[..., None]
