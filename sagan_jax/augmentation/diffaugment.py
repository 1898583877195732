"""Changes of color, place and extent, each of an image [H, W, 3] in [-1, 1] with a key.

Reference: Zhao et al. 2020 (arXiv:2006.10738); strengths as in the authors' DiffAugment.
"""

import functools

import jax
import jax.numpy as jnp


def color(image: jax.Array, key: jax.Array) -> jax.Array:
    """Changes brightness (by up to a quarter of the range), saturation (0 to 2) and contrast (1/2 to 3/2)."""
    brightness, saturation, contrast = jax.random.uniform(key, (3,))
    image = image + (brightness - 0.5)
    grey = jnp.mean(image, axis=-1, keepdims=True)
    image = grey + 2 * saturation * (image - grey)
    mean = jnp.mean(image)
    return mean + (0.5 + contrast) * (image - mean)


def translation(image: jax.Array, key: jax.Array) -> jax.Array:
    """Moves by up to an eighth of the side both ways; the margin that comes in is mid-grey, 0."""
    height, width, _ = image.shape
    down, right = (
        jax.random.randint(axis_key, (), -most, most + 1)
        for axis_key, most in zip(jax.random.split(key), ((height + 4) // 8, (width + 4) // 8), strict=True)
    )
    # As matrix products, whose gradients are fast everywhere; those of indexing are not.
    rows, columns = _moved(height, down), _moved(width, right)
    exact = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    return exact("ih,hwc,jw->ijc", rows, image, columns)


def cutout(image: jax.Array, key: jax.Array) -> jax.Array:
    """Makes a square of half the side mid-grey, 0; its centre is anywhere in the image, edges included."""

    def covered(size: int, axis_key: jax.Array) -> jax.Array:
        length = (size + 1) // 2
        # A square of even length is centred between two pixels, of which there are one more places than pixels.
        centre = jax.random.randint(axis_key, (), 0, size + 1 - length % 2)
        place = jnp.arange(size) - (centre - length // 2)
        return (place >= 0) & (place < length)

    rows, columns = map(covered, image.shape[:2], jax.random.split(key))
    return jnp.where((rows[:, None] & columns[None])[:, :, None], 0.0, image)


def _moved(size: int, by: jax.Array) -> jax.Array:
    """Returns the matrix [size, size] float32 that moves a vector's entries by `by`."""
    return jnp.equal(jnp.arange(size)[:, None] - by, jnp.arange(size)[None]).astype(jnp.float32)
