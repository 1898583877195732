"""The three layers that hold weights: spectrally normalised dense, convolution and class embedding."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sagan_jax.models.spectral_norm import SpectralNorm

Initializer = Callable[..., jax.Array]
XAVIER_UNIFORM: Initializer = nn.initializers.xavier_uniform()


@dataclasses.dataclass(frozen=True)
class Numerics:
    """How a network computes, as opposed to which layers it has; the same in all its layers.

    Attributes:
      compute_dtype: dtype of convolutions and matrix products. Parameters, spectral norm,
        batch-norm moments, softmax and logits are float32 whatever it is.
      kernel_init: initialiser of dense and convolution kernels and of D's class embedding.
      spectral_epsilon: see `spectral_norm.power_iteration`.
      batch_norm_epsilon: added to the variance before the root.
      batch_norm_momentum: share of the old running average kept at an update.
    """

    compute_dtype: Any = jnp.float32
    kernel_init: Initializer = XAVIER_UNIFORM
    spectral_epsilon: float = 1e-12
    batch_norm_epsilon: float = 1e-5
    batch_norm_momentum: float = 0.999


class Dense(nn.Module):
    """Spectrally normalised affine map, [B, N] -> [B, features]."""

    features: int
    numerics: Numerics

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = _normalized_kernel(self, (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        dtype = self.numerics.compute_dtype
        return x.astype(dtype) @ kernel.astype(dtype) + bias.astype(dtype)


class Conv(nn.Module):
    """Spectrally normalised convolution of stride 1 that keeps the size, [B, H, W, C] -> [B, H, W, features]."""

    features: int
    kernel_size: int
    numerics: Numerics
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = _normalized_kernel(self, (self.kernel_size, self.kernel_size, x.shape[-1], self.features))
        dtype = self.numerics.compute_dtype
        x = jax.lax.conv_general_dilated(
            x.astype(dtype), kernel.astype(dtype), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        if self.use_bias:
            x = x + self.param("bias", nn.initializers.zeros, (self.features,)).astype(dtype)
        return x


class Embedding(nn.Module):
    """Spectrally normalised table of one vector per class, labels [B] int32 -> [B, features] float32."""

    num_classes: int
    features: int
    numerics: Numerics

    @nn.compact
    def __call__(self, labels: jax.Array) -> jax.Array:
        return _normalized_kernel(self, (self.num_classes, self.features))[labels]


def _normalized_kernel(layer: Any, shape: Sequence[int]) -> jax.Array:
    """Creates or reads the parameter `kernel` of a layer and divides it by its spectral norm; float32."""
    kernel = layer.param("kernel", layer.numerics.kernel_init, shape)
    return SpectralNorm(layer.numerics.spectral_epsilon, name="spectral_norm", parent=layer)(kernel)
