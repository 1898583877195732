"""Self-attention over the positions of a feature map (Zhang et al. 2018, section 3)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sagan_jax.models.layers import Conv, LayerConfig, add_gated
from sagan_jax.ops.resampling import max_pool

COLLECTION = "attention_maps"
MOST_WEIGHTS = 2**19  # attention weights of an image that are held at a time; at 32x32 there are 2**18


class SelfAttention(nn.Module):
    """x + gamma * o, where o lets every position look at every other one.

    As in the authors' code (ops.py, sn_non_local_block_sim), which the paper leaves open:
    queries and keys have C/8 channels, values C/2; keys and values are max-pooled 2x2, so
    M = L/4; scores are not divided by the root of their dimension; all four 1x1
    convolutions have no bias. `gamma` is 0 at the start: the
    network begins local and learns to look further.

    `apply(..., mutable=["attention_maps"])` returns the weights [B, L, M] float32 as `weights` in that collection, the
    mean over the heads; otherwise they cost nothing, and `init` does not return them.

    Attributes:
      config: dtypes, initialiser, spectral norm.
      heads: parts of the channels of queries, keys and values that attend by themselves; 1 in the authors' code.

    Reference: Zhang et al. 2018 (arXiv:1805.08318), equations 1 to 3.
    """

    config: LayerConfig
    heads: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"]) -> Float[Array, "batch height width channels"]:
        """Maps x [B, H, W, C] with even H and W to [B, H, W, C] in the dtype of x."""
        batch, height, width, channels = x.shape
        narrow, half = (self.heads * max(1, channels // (part * self.heads)) for part in (8, 2))
        query_BLK = self._heads(self._conv("query", narrow)(x))
        key_BMK = self._heads(self.pool(self._conv("key", narrow)(x)))
        value_BMV = self._heads(self.pool(self._conv("value", half)(x)))

        if self.is_mutable_collection(COLLECTION) and not self.is_initializing():
            weights_BLM = attention_weights(query_BLK, key_BMK)
            weights_BLM = weights_BLM.reshape(batch, self.heads, *weights_BLM.shape[1:]).mean(axis=1)
            self.sow(COLLECTION, "weights", weights_BLM, reduce_fn=lambda _, new: new, init_fn=lambda: None)
        attended_BLV = attend(query_BLK, key_BMK, value_BMV, self.heads)

        o = attended_BLV.reshape(batch, self.heads, height * width, half // self.heads).swapaxes(1, 2)
        o = self._conv("output", channels)(o.reshape(batch, height, width, half))
        return add_gated(self, x, o)

    def pool(self, x: Float[Array, "batch height width features"]) -> Float[Array, "batch _ _ features"]:
        """Makes the map of keys or values from one of as many positions as there are queries."""
        return max_pool(x)

    def _conv(self, name: str, features: int) -> Conv:
        return Conv(features, kernel_size=1, config=self.config, use_bias=False, name=name)

    def _heads(self, x: jax.Array) -> jax.Array:
        """Returns the positions of each head of each image, [B, H, W, C] -> [B heads, H W, C / heads]."""
        batch, height, width, channels = x.shape
        by_head = x.reshape(batch, height * width, self.heads, channels // self.heads).swapaxes(1, 2)
        return by_head.reshape(batch * self.heads, height * width, channels // self.heads)


class UnpooledAttention(SelfAttention):
    """Attention to every position itself, M = L, as in equation 1 of the paper; four times the work."""

    def pool(self, x: Float[Array, "batch height width features"]) -> Float[Array, "batch height width features"]:
        return x


class MultiHeadAttention(SelfAttention):
    """Attention with four heads, for as many parameters and as much work. Reference: Vaswani et al. 2017, 3.2.2."""

    heads: int = 4


ATTENTIONS: dict[str, type[SelfAttention]] = {
    "pooled": SelfAttention,
    "unpooled": UnpooledAttention,
    "multi-head": MultiHeadAttention,
}


def attention_weights(
    query_BLK: Float[Array, "batch queries key_channels"], key_BMK: Float[Array, "batch keys key_channels"]
) -> Float[Array, "batch queries keys"]:
    """Computes softmax over the key positions of query . key, [B, L, M] float32; each row sums to 1.

    Reference: Zhang et al. 2018, equation 1.
    """
    scores_BLM = jnp.einsum("blk,bmk->blm", query_BLK, key_BMK, preferred_element_type=jnp.float32)
    return jax.nn.softmax(scores_BLM, axis=-1)


def attend(
    query_BLK: Float[Array, "batch queries key_channels"],
    key_BMK: Float[Array, "batch keys key_channels"],
    value_BMV: Float[Array, "batch keys value_channels"],
    heads: int = 1,
) -> Float[Array, "batch queries value_channels"]:
    """Returns the values weighted by `attention_weights`, [B, L, V] in their dtype; B are the heads of all images.

    With more than `MOST_WEIGHTS` weights per image, one block of queries after the other; the weights of a block are
    computed again for its gradients, so that those of one block are the most that is ever held.
    """
    batch, queries, narrow = query_BLK.shape
    most = max(1, MOST_WEIGHTS // (heads * key_BMK.shape[1]))
    if queries <= most:
        return _attend(query_BLK, key_BMK, value_BMV)
    size = max(size for size in range(1, most + 1) if queries % size == 0)
    blocks_NBLK = query_BLK.reshape(batch, -1, size, narrow).swapaxes(0, 1)
    attended_NBLV = jax.lax.map(lambda block_BLK: jax.checkpoint(_attend)(block_BLK, key_BMK, value_BMV), blocks_NBLK)
    return attended_NBLV.swapaxes(0, 1).reshape(batch, queries, -1)


def _attend(query_BLK: jax.Array, key_BMK: jax.Array, value_BMV: jax.Array) -> jax.Array:
    weights_BLM = attention_weights(query_BLK, key_BMK).astype(value_BMV.dtype)
    return jnp.einsum("blm,bmv->blv", weights_BLM, value_BMV)
