"""The ResNet-56 classifier of CIFAR-10, a small feature network (64 pooled features) for images of its ten classes.

It was trained on CIFAR-10's training images, which it fits better than any others, and suits no other data set.
"""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sagan_jax.errors import InputError

SIDE = 32  # pixels of the input
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of pixels 0..1, as it was trained
STAGES = ((16, 1), (32, 2), (64, 2))  # channels, and the stride of the stage's first block
BLOCKS = 9  # per stage
EPSILON = 1e-5


class ResNet56(nn.Module):
    """Features and logits of images; batch normalisation always uses the stored moments.

    Reference: He et al. 2016 (arXiv:1512.03385), section 4.2, option A; layers named as in the PyTorch version of
    Idelbayev, https://github.com/akamaster/pytorch_resnet_cifar10.
    """

    @nn.compact
    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        """Maps pixels 0..255 [B, 32, 32, 3] to "features" [B, 64] and "logits" [B, 10]."""
        mean, std = (jnp.asarray(numbers)[None, None, None] for numbers in (MEAN, STD))
        x = (images.astype(jnp.float32) / 255 - mean) / std
        x = nn.relu(_norm("bn1")(_conv(16, 1, "conv1")(x)))
        for stage, (channels, stride) in enumerate(STAGES, start=1):
            for block in range(BLOCKS):
                name, step = f"layer{stage}.{block}", stride if block == 0 else 1
                y = nn.relu(_norm(f"{name}.bn1")(_conv(channels, step, f"{name}.conv1")(x)))
                y = _norm(f"{name}.bn2")(_conv(channels, 1, f"{name}.conv2")(y))
                x = nn.relu(y + _shortcut(x, channels, step))
        features = x.mean(axis=(1, 2))
        return {"features": features, "logits": nn.Dense(10, precision="highest", name="linear")(features)}


def _conv(channels: int, stride: int, name: str) -> nn.Conv:
    padding = ((1, 1), (1, 1))  # at stride 2, SAME would pad only one side
    return nn.Conv(channels, (3, 3), stride, padding, use_bias=False, precision="highest", name=name)


def _norm(name: str) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=True, epsilon=EPSILON, name=name)


def _shortcut(x: jax.Array, channels: int, stride: int) -> jax.Array:
    missing = channels - x.shape[-1]
    return jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (missing // 2, missing // 2)))


def variables_of(weights: dict[str, np.ndarray], path: Path) -> dict[str, Any]:
    """Converts arrays with PyTorch's names and layouts to the variables of `ResNet56`.

    Raises:
      InputError: an array is missing, of another shape, or not finite; the message names `path`.
    """
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    template = jax.eval_shape(ResNet56().init, jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3)))

    def read(place: tuple[Any, ...], like: jax.ShapeDtypeStruct) -> np.ndarray:
        layer, kind = place[-2].key, place[-1].key
        torch_kind = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
        name = f"{layer}.{torch_kind.get(kind, kind)}"
        if name not in weights:
            raise InputError(f"the weights {path} lack {name}: give the file of a ResNet-56 for CIFAR-10.")
        value = weights[name].astype(np.float32)
        value = value.transpose((2, 3, 1, 0) if value.ndim == 4 else None)
        if value.shape != like.shape or not np.isfinite(value).all():
            raise InputError(
                f"{name} in the weights {path} is damaged: its shape is {value.shape}, not {like.shape}, or it is"
                " not finite."
            )
        return value

    return jax.tree_util.tree_map_with_path(read, template)
