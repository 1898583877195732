"""Checks of what the networks are called with: one sentence in place of an error from the depth of a layer.

In signatures what they check is also `Any`: types that are checked at test time must not come before the sentence.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp


def check_latents(latents: Any, params: Mapping[str, Any], whole: bool) -> None:
    """Raises ValueError unless latents are [B, Z] floating point.

    Args:
      latents: anything.
      params: of the generator; empty while it is initialised.
      whole: whether its first layer takes all of each latent.
    """
    shape, dtype = _shape_and_dtype("latents", latents)
    if len(shape) != 2 or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"latents are {_described(shape, dtype)}: give a floating point array [B, Z].")
    if whole and "dense" in params and params["dense"]["kernel"].shape[0] != shape[1]:
        raise ValueError(
            f"latents have the length {shape[1]}, but this generator was initialised with"
            f" {params['dense']['kernel'].shape[0]}: draw latents of that length."
        )


def check_labels(labels: Any, num_classes: int, batch_size: Any) -> None:
    """Raises ValueError unless labels are [batch_size] integers, or None where there are no classes."""
    if labels is None:
        if num_classes:
            raise ValueError(f"labels are missing: this network has {num_classes} classes; give integers [B].")
        return
    shape, dtype = _shape_and_dtype("labels", labels)
    if len(shape) != 1 or shape[0] != batch_size or not jnp.issubdtype(dtype, jnp.integer):
        raise ValueError(f"labels are {_described(shape, dtype)}: give integers [{batch_size}], one per image.")


def check_images(images: Any, resolution: int) -> None:
    """Raises ValueError unless images are [B, resolution, resolution, 3] floating point."""
    shape, dtype = _shape_and_dtype("images", images)
    wanted = f"floating point [B, {resolution}, {resolution}, 3] in [-1, 1]"
    if dtype == jnp.uint8:
        raise ValueError(f"images are uint8: give {wanted}, for instance images / 127.5 - 1.")
    if len(shape) == 4 and shape[1] == 3 and shape[3] != 3:
        raise ValueError(f"images are {_described(shape, dtype)}, channels first: give {wanted}, channels last.")
    if len(shape) != 4 or shape[1:] != (resolution, resolution, 3) or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"images are {_described(shape, dtype)}: this discriminator takes {wanted}.")


def as_arrays(*values: Any) -> tuple[Any, ...]:
    """Converts NumPy arrays to those of JAX, which the layers take; None stays."""
    return tuple(None if value is None else jnp.asarray(value) for value in values)


def _shape_and_dtype(name: str, value: Any) -> tuple[tuple[Any, ...], Any]:
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        raise ValueError(f"{name} are no array but {type(value).__name__}: give a JAX or NumPy array.")
    return tuple(value.shape), value.dtype


def _described(shape: tuple[Any, ...], dtype: Any) -> str:
    return f"{dtype} [{', '.join(map(str, shape))}]"
