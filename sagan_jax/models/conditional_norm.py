"""Batch normalisation, and its conditional forms (Dumoulin et al. 2017, arXiv:1610.07629)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sagan_jax.models.layers import CLASS_TABLES, Dense, Embedding, LayerConfig

COLLECTION = "batch_stats"
Condition = Int[Array, " batch"] | Float[Array, "batch inputs"] | None


class BatchNorm(nn.Module):
    """Normalises each channel by the moments of the whole batch, then scales and shifts it.

    Under `jax.jit` on a batch sharded over devices the moments are those of the global batch, on any number of devices.

    Gain and bias are parameters [C], or follow from a condition:

    - labels [B] int: those of the image's class, from tables that start at exactly 1 and 0. They are not spectrally
      normalised, which would cap how far apart classes can be; unless `config.spectral_norm` has the class tables, as
      in StudioGAN (utils/ops.py, ConditionalBatchNorm2d): then both are embeddings, and the gain is 1 more.
    - vectors [B, N] float32: linear maps of them, the gain 1 more, as in BigGAN (Brock et al. 2018).

    Variables in `batch_stats`: running averages `mean` and `var` [C] float32, used where `train` is False and updated
    where it is True and the collection is mutable.

    Attributes:
      config: dtypes, epsilon, momentum, spectral norm.
      num_classes: of labels.
    """

    config: LayerConfig
    num_classes: int = 0

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], condition: Condition = None, *, train: bool
    ) -> Float[Array, "batch height width channels"]:
        """Maps x [B, H, W, C] to [B, H, W, C] in the dtype of x; moments in float32."""
        channels = x.shape[-1]
        running_mean = self.variable(COLLECTION, "mean", jnp.zeros, (channels,))
        running_var = self.variable(COLLECTION, "var", jnp.ones, (channels,))
        if train:
            mean, var = _moments(x, self.config.ghost_batches)
            if self.is_mutable_collection(COLLECTION) and not self.is_initializing():
                momentum = self.config.batch_norm_momentum
                running_mean.value = momentum * running_mean.value + (1 - momentum) * mean.mean(axis=0)
                running_var.value = momentum * running_var.value + (1 - momentum) * var.mean(axis=0)
            mean, var = (jnp.tile(moment, (len(x) // len(moment), 1)) for moment in (mean, var))
        else:
            mean, var = running_mean.value[None], running_var.value[None]
        mean, var = mean[:, None, None, :], var[:, None, None, :]

        if condition is None:
            scale = self.param("scale", nn.initializers.ones, (channels,))[None]
            bias = self.param("bias", nn.initializers.zeros, (channels,))[None]
        else:
            maps = self._from_labels if jnp.issubdtype(condition.dtype, jnp.integer) else self._from_vectors
            scale, bias = maps(condition, channels)
        scale, bias = scale[:, None, None, :], bias[:, None, None, :]
        # One multiply and one add per element: y = x * factor + offset.
        factor = scale * jax.lax.rsqrt(var + self.config.batch_norm_epsilon)
        offset = bias - mean * factor
        return (x * factor + offset).astype(x.dtype)

    def _from_labels(self, labels: jax.Array, channels: int) -> tuple[jax.Array, jax.Array]:
        """Returns gain and bias of each image, [B, C]."""
        if CLASS_TABLES in self.config.spectral_norm:
            scale = 1 + Embedding(self.num_classes, channels, self.config, name="scale")(labels)
            return scale, Embedding(self.num_classes, channels, self.config, name="bias")(labels)
        shape = (self.num_classes, channels)
        tables = self.param("scale", nn.initializers.ones, shape), self.param("bias", nn.initializers.zeros, shape)
        scale, bias = (jnp.asarray(table)[labels] for table in tables)  # NumPy's cannot be indexed by traced labels
        return scale, bias

    def _from_vectors(self, vectors: jax.Array, channels: int) -> tuple[jax.Array, jax.Array]:
        """Returns gain and bias of each image, [B, C]."""
        scale = 1 + Dense(channels, self.config, use_bias=False, name="scale")(vectors)
        return scale, Dense(channels, self.config, use_bias=False, name="bias")(vectors)


def _moments(x: jax.Array, groups: int) -> tuple[jax.Array, jax.Array]:
    """Computes mean and biased variance [groups, C] over images and space, in float32 from one pass over x.

    The variance is that of x - shift, where the shift is the mean of one pixel per image: a difference of squares of
    numbers of the size of the standard deviation, where the mean may be a thousand times as large.
    """
    x = x.reshape(-1, groups, *x.shape[1:])
    # Of x as it is: a map in float32 that is used twice would be written to memory.
    pixels = x[:, :, x.shape[2] // 2, x.shape[3] // 2].astype(jnp.float32)
    shift = jax.lax.stop_gradient(jnp.mean(pixels, axis=0))
    x = x.astype(jnp.float32) - shift[None, :, None, None]
    mean = jnp.mean(x, axis=(0, 2, 3))
    mean_of_squares = jnp.mean(jnp.square(x), axis=(0, 2, 3))
    return shift + mean, jnp.maximum(mean_of_squares - jnp.square(mean), 0.0)
