"""Self-attention over the positions of a feature map (Zhang et al. 2018, section 3)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from sagan_jax.models.layers import Conv, Numerics
from sagan_jax.models.resampling import max_pool

COLLECTION = "attention_maps"


class SelfAttention(nn.Module):
    """x + gamma * o, where o lets every position look at every other one.

    As in the authors' code (ops.py, sn_non_local_block_sim), which the paper leaves open:
    queries and keys have C/8 channels, values C/2; keys and values are max-pooled 2x2, so
    M = L/4; scores are not divided by the root of their dimension; all four 1x1
    convolutions are spectrally normalised and have no bias. `gamma` is 0 at the start: the
    network begins local and learns to look further.

    Where the collection `attention_maps` is mutable, the weights [B, L, M] float32 are
    stored in it as `weights`; elsewhere that costs nothing.

    Reference: Zhang et al. 2018 (arXiv:1805.08318), equations 1 to 3.
    """

    numerics: Numerics

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x [B, H, W, C] with even H and W -> [B, H, W, C] in the dtype of x."""
        batch, height, width, channels = x.shape
        narrow, half = max(1, channels // 8), max(1, channels // 2)
        query_BLK = self._positions(self._conv("query", narrow)(x))
        key_BMK = self._positions(max_pool(self._conv("key", narrow)(x)))
        value_BMV = self._positions(max_pool(self._conv("value", half)(x)))

        weights_BLM = attention_weights(query_BLK, key_BMK)
        self.sow(COLLECTION, "weights", weights_BLM, reduce_fn=lambda _, new: new, init_fn=lambda: None)
        attended_BLV = jnp.einsum("blm,bmv->blv", weights_BLM.astype(value_BMV.dtype), value_BMV)

        o = self._conv("output", channels)(attended_BLV.reshape(batch, height, width, half))
        gamma = self.param("gamma", nn.initializers.zeros, ())
        return (x + gamma.astype(o.dtype) * o).astype(x.dtype)

    def _conv(self, name: str, features: int) -> Conv:
        return Conv(features, kernel_size=1, numerics=self.numerics, use_bias=False, name=name)

    @staticmethod
    def _positions(x: jax.Array) -> jax.Array:
        return x.reshape(x.shape[0], -1, x.shape[-1])


def attention_weights(query_BLK: jax.Array, key_BMK: jax.Array) -> jax.Array:
    """softmax over the key positions of query . key, [B, L, M] float32; each row sums to 1.

    Reference: Zhang et al. 2018, equation 1.
    """
    scores_BLM = jnp.einsum("blk,bmk->blm", query_BLK, key_BMK, preferred_element_type=jnp.float32)
    return jax.nn.softmax(scores_BLM, axis=-1)
