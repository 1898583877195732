"""The three layers that hold kernels: dense, convolution and class embedding, each with its spectral norm."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sagan_jax.models.spectral_norm import spectrally_normalized
from sagan_jax.ops.convolution import conv2d

Initializer = Callable[..., jax.Array]
XAVIER_UNIFORM: Initializer = nn.initializers.xavier_uniform()
# What may be spectrally normalised. The tables are the classes' gains and biases of the conditional batch norm.
KERNELS, CLASS_TABLES = "kernels", "class tables"


@dataclasses.dataclass(frozen=True)
class LayerConfig:
    """How a network computes, as opposed to which layers it has; the same in all its layers.

    Attributes:
      compute_dtype: dtype of feature maps, convolutions and attention's products. Parameters and their gradients,
        spectral norm, batch-norm moments, softmax, dense layers and logits are float32 whatever it is.
      kernel_init: initialiser of dense and convolution kernels and of D's class embedding.
      spectral_norm: what is spectrally normalised; () for plain weights, see models/plain.py.
      spectral_epsilon: see `spectrally_normalized`.
      batch_norm_epsilon: added to the variance before the root.
      batch_norm_momentum: fraction of the old running average kept at an update.
      rematerialize: keep only what goes from block to block for the gradients, and compute the rest again.
      ghost_batches: batches in one, each normalised by moments of its own; image i belongs to batch i mod this.
    """

    compute_dtype: Any = jnp.float32
    kernel_init: Initializer = XAVIER_UNIFORM
    spectral_norm: tuple[str, ...] = (KERNELS,)
    spectral_epsilon: float = 1e-12
    batch_norm_epsilon: float = 1e-5
    batch_norm_momentum: float = 0.999
    rematerialize: bool = False
    ghost_batches: int = 1


DEFAULT_CONFIG = LayerConfig()


def kernel_of(layer: nn.Module, config: LayerConfig, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Returns the parameter `kernel` of a layer, float32, divided by its spectral norm where the config says so."""
    kernel = jnp.asarray(layer.param("kernel", config.kernel_init, shape))  # weights from a file are NumPy's
    return spectrally_normalized(layer, kernel, config.spectral_epsilon) if config.spectral_norm else kernel


def add_bias(layer: nn.Module, x: Float[Array, "*others channels"]) -> Float[Array, "*others channels"]:
    """Adds the parameter `bias` [C] of a layer to x [..., C], in float32; the result has the dtype of x.

    The gradient of what is broadcast is a sum over all positions of all images, in the dtype of the addition. In
    bfloat16 such a sum stops growing at some hundred times the size of its terms.
    """
    bias = layer.param("bias", nn.initializers.zeros, (x.shape[-1],))
    return x + jnp.broadcast_to(bias, x.shape).astype(x.dtype)


def add_gated(
    layer: nn.Module, x: Float[Array, "*others channels"], o: Float[Array, "*others channels"]
) -> Float[Array, "*others channels"]:
    """Returns x + gamma * o in the dtype of x, [..., C]; `gamma` [] is a parameter of the layer, 0 at the start.

    In float32, for the reason given in `add_bias`.
    """
    gamma = layer.param("gamma", nn.initializers.zeros, ())
    return (x + gamma * o).astype(x.dtype)


class Dense(nn.Module):
    """Affine map, [B, N] -> [B, features], in float32: of all work a part that no clock sees."""

    features: int
    config: LayerConfig
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "batch inputs"]) -> Float[Array, "batch {self.features}"]:
        y = x @ kernel_of(self, self.config, (x.shape[-1], self.features))
        return add_bias(self, y) if self.use_bias else y


class Conv(nn.Module):
    """Convolution, [B, H, W, C] -> [B, H', W', features].

    Attributes:
      features, kernel_size: of the kernel, [kernel_size, kernel_size, C, features].
      config: dtypes, initialiser, spectral norm.
      operation: applied to images in the compute dtype and the float32 kernel: `conv2d`, which keeps the side, or
        `upsample_conv2d` or `conv2d_mean_pool`, which double and halve it.
      use_bias: whether a number per feature is added.
    """

    features: int
    kernel_size: int
    config: LayerConfig
    operation: Callable[[jax.Array, jax.Array], jax.Array] = conv2d
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"]) -> Float[Array, "batch _ _ {self.features}"]:
        kernel = kernel_of(self, self.config, (self.kernel_size, self.kernel_size, x.shape[-1], self.features))
        x = self.operation(x.astype(self.config.compute_dtype), kernel)
        return add_bias(self, x) if self.use_bias else x


class Embedding(nn.Module):
    """Table of one vector per class, labels [B] int32 -> [B, features] float32."""

    num_classes: int
    features: int
    config: LayerConfig

    @nn.compact
    def __call__(self, labels: Int[Array, " batch"]) -> Float[Array, "batch {self.features}"]:
        return kernel_of(self, self.config, (self.num_classes, self.features))[labels]
