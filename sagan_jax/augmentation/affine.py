"""Affine maps of an image without gathering pixels, whose gradients are slow on accelerators and not reproducible.

In two passes (Catmull & Smith 1980): along the columns, then along the rows. Each moves every line of pixels by a
length of its own and scales all of them alike. Lines are moved by powers of two, each or not, so that no weights per
line are in memory.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Image = Float[Array, "side side channels"]
Lines = Float[Array, "lines length channels"]


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
    slope = c / a
    places = jnp.arange(len(image), dtype=jnp.float32) - (len(image) - 1) / 2  # of lines, from the centre
    columns = moved_and_scaled(image.swapaxes(0, 1), slope * (places - offset[0]) + offset[1], d - slope * b)
    image = moved_and_scaled(columns.swapaxes(0, 1), b * places + offset[0], a)
    return jnp.where(transposed, image.swapaxes(0, 1), image)


def moved_and_scaled(lines: Lines, by: Float[Array, " lines"], scale: Float[Array, ""]) -> Lines:
    """Returns each line with, at place k from the centre, what stood at scale * k + by; `by` is its own, in pixels.

    Weights fall to 0 at a pixel's distance, or at `scale` pixels where that is more.
    """
    length = lines.shape[1]
    mirrored = moved(jnp.concatenate([lines, lines[:, ::-1]], axis=1), by)  # comes back to where it began
    pixels = jnp.arange(2 * length, dtype=jnp.float32)
    places = scale * (pixels[:length] - (length - 1) / 2) + (length - 1) / 2
    distances = jnp.abs(jnp.mod(places[:, None] - pixels[None] + length, 2 * length) - length)
    weights = jax.nn.relu(1 - distances / jnp.maximum(jnp.abs(scale), 1))
    weights = weights / jnp.sum(weights, axis=1, keepdims=True)
    return jnp.einsum("mk,lkc->lmc", weights, mirrored, precision=jax.lax.Precision.HIGHEST)


def moved(rings: Float[Array, "lines length channels"], by: Float[Array, " lines"]) -> Lines:
    """Returns each line with, at place k, what stood at k + by, where lines have no end."""
    length = rings.shape[1]
    whole = jnp.floor(by)
    rest = (by - whole)[:, None, None]
    steps = jnp.mod(whole, length).astype(jnp.int32)
    for bit in range((length - 1).bit_length()):
        moves = (steps >> bit) & 1 == 1
        rings = jnp.where(moves[:, None, None], jnp.roll(rings, -(1 << bit), axis=1), rings)
    return (1 - rest) * rings + rest * jnp.roll(rings, -1, axis=1)
