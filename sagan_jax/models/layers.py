"""The three layers that hold kernels: dense, convolution and class embedding.

The kernels that they are applied with have been divided by their spectral norms, see spectral_norm.py; not those of a
network whose kernels are free, which go by another name.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sagan_jax.models.spectral_norm import FREE_KERNEL, KERNEL
from sagan_jax.ops.convolution import conv2d

Initializer = Callable[..., jax.Array]
XAVIER_UNIFORM: Initializer = nn.initializers.xavier_uniform()
# What may be spectrally normalised. The tables are the classes' gains and biases of the conditional batch norm.
KERNELS, CLASS_TABLES = "kernels", "class tables"


@dataclasses.dataclass(frozen=True)
class LayerConfig:
    """How a network computes, as opposed to which layers it has; the same in all its layers.

    Attributes:
      compute_dtype: dtype of convolutions and matrix products. Parameters, spectral norm,
        batch-norm moments, softmax and logits are float32 whatever it is.
      kernel_init: initialiser of dense and convolution kernels and of D's class embedding.
      batch_norm_epsilon: added to the variance before the root.
      batch_norm_momentum: fraction of the old running average kept at an update.
      rematerialize: keep only what goes from block to block for the gradients, and compute the rest again.
      ghost_batches: batches in one, each normalised by moments of its own; image i belongs to group i mod this.
      normalized: what of the network is spectrally normalised.
    """

    compute_dtype: Any = jnp.float32
    kernel_init: Initializer = XAVIER_UNIFORM
    batch_norm_epsilon: float = 1e-5
    batch_norm_momentum: float = 0.999
    rematerialize: bool = False
    ghost_batches: int = 1
    normalized: tuple[str, ...] = (KERNELS,)

    @property
    def kernel_name(self) -> str:
        """Of the parameters that hold kernels."""
        return KERNEL if KERNELS in self.normalized else FREE_KERNEL


def conv2d_same(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution of stride 1, x [B, H, W, C], kernel [k, k, C, F] float32, k odd -> [B, H, W, F] in x's dtype."""
    return conv2d(x, kernel.astype(x.dtype))


class Dense(nn.Module):
    """Affine map, [B, N] -> [B, features]."""

    features: int
    config: LayerConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param(self.config.kernel_name, self.config.kernel_init, (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        dtype = self.config.compute_dtype
        return x.astype(dtype) @ kernel.astype(dtype) + bias.astype(dtype)


class Conv(nn.Module):
    """Convolution, [B, H, W, C] -> [B, H', W', features].

    Attributes:
      features, kernel_size: of the kernel, [kernel_size, kernel_size, C, features].
      config: see there.
      operation: what is done with images in the compute dtype and the float32 kernel: `conv2d_same`, which keeps the
        side, or `upsample_conv2d` or `conv2d_mean_pool`, which double and halve it.
      use_bias: whether a number per feature is added.
    """

    features: int
    kernel_size: int
    config: LayerConfig
    operation: Callable[[jax.Array, jax.Array], jax.Array] = conv2d_same
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param(self.config.kernel_name, self.config.kernel_init, shape)
        x = self.operation(x.astype(self.config.compute_dtype), kernel)
        if self.use_bias:
            x = x + self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)
        return x


class Embedding(nn.Module):
    """Table of one vector per class, always normalised, labels [B] int32 -> [B, features] float32."""

    num_classes: int
    features: int
    config: LayerConfig

    @nn.compact
    def __call__(self, labels: jax.Array) -> jax.Array:
        return self.param(KERNEL, self.config.kernel_init, (self.num_classes, self.features))[labels]
