"""Batch normalisation, and its class-conditional form (Dumoulin et al. 2017, arXiv:1610.07629)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from sagan_jax.models.layers import CLASS_TABLES, Embedding, LayerConfig

COLLECTION = "batch_stats"


class BatchNorm(nn.Module):
    """Normalises each channel by the moments of the whole batch, then scales and shifts it.

    Under `jax.jit` on a batch sharded over devices the moments are those of the global
    batch, on any number of devices. With `num_classes` > 0 the gain and bias are those of
    the sample's class. Both start at exactly 1 and 0 and are not spectrally normalised:
    that would cap how far apart classes can be. Where `config.normalized` has the class
    tables, as in StudioGAN (utils/ops.py, ConditionalBatchNorm2d), both are embeddings, and the gain is 1 more.

    Variables in `batch_stats`: running averages `mean` and `var` [C] float32, used where
    `train` is False and updated where it is True and the collection is mutable.
    """

    config: LayerConfig
    num_classes: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, labels: jax.Array | None = None, *, train: bool) -> jax.Array:
        """x [B, H, W, C], labels [B] int32 -> [B, H, W, C] in the dtype of x; moments in float32."""
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

        if self.num_classes:
            assert labels is not None
            scale, bias = self._of_classes(labels, channels)
        else:
            scale = self.param("scale", nn.initializers.ones, (channels,))
            bias = self.param("bias", nn.initializers.zeros, (channels,))
        # One multiply and one add per element: y = x * factor + offset.
        factor = scale * jax.lax.rsqrt(var + self.config.batch_norm_epsilon)
        offset = bias - mean * factor
        return (x * factor + offset).astype(x.dtype)

    def _of_classes(self, labels: jax.Array, channels: int) -> tuple[jax.Array, jax.Array]:
        """Gain and bias of each image, [B, 1, 1, C]."""
        if CLASS_TABLES in self.config.normalized:
            scale = 1 + Embedding(self.num_classes, channels, self.config, name="scale")(labels)
            bias = Embedding(self.num_classes, channels, self.config, name="bias")(labels)
        else:
            scale = self.param("scale", nn.initializers.ones, (self.num_classes, channels))[labels]
            bias = self.param("bias", nn.initializers.zeros, (self.num_classes, channels))[labels]
        return scale[:, None, None, :], bias[:, None, None, :]


def _moments(x: jax.Array, groups: int) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance [groups, C] over images and space, in float32 from one pass over x."""
    x = x.astype(jnp.float32).reshape(-1, groups, *x.shape[1:])
    mean = jnp.mean(x, axis=(0, 2, 3))
    mean_of_squares = jnp.mean(jnp.square(x), axis=(0, 2, 3))
    return mean, jnp.maximum(mean_of_squares - jnp.square(mean), 0.0)
