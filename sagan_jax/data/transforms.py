"""Between stored pixels and what the networks see: crop and resize on the host, the rest on the device."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageOps

# What Pillow raises for a file that is no whole, sane image.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def square_rgb(image: Image.Image, resolution: int) -> np.ndarray:
    """The centre square of an image of any size and mode, as [resolution, resolution, 3] uint8 RGB.

    Camera orientation is applied, transparency is laid over white, 16-bit grey is reduced to 8
    bits, and the resize is an antialiased Lanczos filter; an image of the right size passes
    unchanged.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit grey, which `convert` would clip
        image = Image.fromarray((np.asarray(image).clip(0, 65_535) / 257).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    image = image.convert("RGB")
    if image.size != (resolution, resolution):
        image = ImageOps.fit(image, (resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(image, dtype=np.uint8)


def to_signed_float(images: jax.Array) -> jax.Array:
    """uint8 0..255 -> float32 -1..1."""
    return images.astype(jnp.float32) * (2 / 255) - 1


def to_uint8(images: jax.Array) -> jax.Array:
    """float -1..1 -> uint8 0..255, rounded; the inverse of `to_signed_float`."""
    return jnp.clip(jnp.round((images + 1) * 127.5), 0, 255).astype(jnp.uint8)


def random_flip(images: jax.Array, key: jax.Array) -> jax.Array:
    """Mirrors each image of [B, H, W, C] left to right with probability 1/2."""
    mirrored = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)
