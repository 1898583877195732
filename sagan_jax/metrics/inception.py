"""The Inception-v3 of 2015-12-05 whose pooled features define the FID.

It differs from torchvision's: average pools do not count padding, the last block pools by maximum, and there are 1008
classes. Batch normalisation is folded into the convolutions.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

SIDE = 299  # pixels of the input
SPATIAL_CHANNELS = 7  # of mixed_6's first branch, for sFID (Nash et al. 2021, arXiv:2103.03841)

ConvLayer = Callable[..., jax.Array]


def normalised(images: Real[Array, "batch 299 299 3"]) -> Float[Array, "batch 299 299 3"]:
    """Scales pixels 0..255 [B, 299, 299, 3] to the float32 input of the network, as the TensorFlow graph does."""
    return (images.astype(jnp.float32) - 128) / 128


class Inception(nn.Module):
    """Features of images at several depths.

    Attributes:
      deepest: "768", "2048" or "logits", the last output to compute; deeper layers have no parameters.

    Reference: Szegedy et al. 2015 (arXiv:1512.00567); names of the layers as in the TensorFlow graph.
    """

    deepest: str = "logits"

    @nn.compact
    def __call__(self, x: Float[Array, "batch 299 299 3"]) -> dict[str, Float[Array, "batch _"]]:
        """Computes the outputs ("taps") up to `deepest`.

        Args:
          x: [B, 299, 299, 3] from `normalised`.

        Returns:
          "64", "192", "768", "2048": means over positions, [B, 64] to [B, 2048]; "spatial": [B, 17 * 17 * 7];
          "logits": [B, 1008] without bias, as in the code of the Inception Score. All float32.
        """

        def conv(x: jax.Array, name: str, features: int, kernel: tuple[int, int], stride: int = 1) -> jax.Array:
            padding = "VALID" if stride == 2 or name in ("conv_1", "conv_3", "conv_4") else "SAME"
            layer = nn.Conv(features, kernel, (stride, stride), padding, precision="highest", name=name)
            return nn.relu(layer(x))

        taps = {}
        x = conv(x, "conv", 32, (3, 3), stride=2)
        x = conv(x, "conv_1", 32, (3, 3))
        x = _shrunk(conv(x, "conv_2", 64, (3, 3)))
        taps["64"] = x.mean(axis=(1, 2))
        x = conv(x, "conv_3", 80, (1, 1))
        x = _shrunk(conv(x, "conv_4", 192, (3, 3)))
        taps["192"] = x.mean(axis=(1, 2))
        for name, pooled in (("mixed", 32), ("mixed_1", 64), ("mixed_2", 64)):
            x = _block_35(conv, x, name, pooled)
        x = _reduction_17(conv, x)
        for name, width in (("mixed_4", 128), ("mixed_5", 160), ("mixed_6", 160), ("mixed_7", 192)):
            x, first = _block_17(conv, x, name, width)
            if name == "mixed_6":
                taps["spatial"] = first[..., :SPATIAL_CHANNELS].reshape(len(x), -1)
        taps["768"] = x.mean(axis=(1, 2))
        if self.deepest in ("2048", "logits"):
            x = _reduction_8(conv, x)
            x = _block_8(conv, x, "mixed_9", _mean_pool)
            x = _block_8(conv, x, "mixed_10", _max_pool)
            taps["2048"] = x.mean(axis=(1, 2))
        if self.deepest == "logits":
            taps["logits"] = nn.Dense(1008, use_bias=False, precision="highest", name="softmax")(taps["2048"])
        return taps


def _block_35(conv: ConvLayer, x: jax.Array, name: str, pooled: int) -> jax.Array:
    one = conv(x, f"{name}/conv", 64, (1, 1))
    five = conv(x, f"{name}/tower/conv", 48, (1, 1))
    five = conv(five, f"{name}/tower/conv_1", 64, (5, 5))
    three = conv(x, f"{name}/tower_1/conv", 64, (1, 1))
    three = conv(three, f"{name}/tower_1/conv_1", 96, (3, 3))
    three = conv(three, f"{name}/tower_1/conv_2", 96, (3, 3))
    pool = conv(_mean_pool(x), f"{name}/tower_2/conv", pooled, (1, 1))
    return jnp.concatenate([one, five, three, pool], axis=-1)


def _reduction_17(conv: ConvLayer, x: jax.Array) -> jax.Array:
    three = conv(x, "mixed_3/conv", 384, (3, 3), stride=2)
    twice = conv(x, "mixed_3/tower/conv", 64, (1, 1))
    twice = conv(twice, "mixed_3/tower/conv_1", 96, (3, 3))
    twice = conv(twice, "mixed_3/tower/conv_2", 96, (3, 3), stride=2)
    return jnp.concatenate([three, twice, _shrunk(x)], axis=-1)


def _block_17(conv: ConvLayer, x: jax.Array, name: str, width: int) -> tuple[jax.Array, jax.Array]:
    """Returns the block's output, and that of its first branch."""
    one = conv(x, f"{name}/conv", 192, (1, 1))
    seven = conv(x, f"{name}/tower/conv", width, (1, 1))
    seven = conv(seven, f"{name}/tower/conv_1", width, (1, 7))
    seven = conv(seven, f"{name}/tower/conv_2", 192, (7, 1))
    twice = conv(x, f"{name}/tower_1/conv", width, (1, 1))
    twice = conv(twice, f"{name}/tower_1/conv_1", width, (7, 1))
    twice = conv(twice, f"{name}/tower_1/conv_2", width, (1, 7))
    twice = conv(twice, f"{name}/tower_1/conv_3", width, (7, 1))
    twice = conv(twice, f"{name}/tower_1/conv_4", 192, (1, 7))
    pool = conv(_mean_pool(x), f"{name}/tower_2/conv", 192, (1, 1))
    return jnp.concatenate([one, seven, twice, pool], axis=-1), one


def _reduction_8(conv: ConvLayer, x: jax.Array) -> jax.Array:
    three = conv(x, "mixed_8/tower/conv", 192, (1, 1))
    three = conv(three, "mixed_8/tower/conv_1", 320, (3, 3), stride=2)
    seven = conv(x, "mixed_8/tower_1/conv", 192, (1, 1))
    seven = conv(seven, "mixed_8/tower_1/conv_1", 192, (1, 7))
    seven = conv(seven, "mixed_8/tower_1/conv_2", 192, (7, 1))
    seven = conv(seven, "mixed_8/tower_1/conv_3", 192, (3, 3), stride=2)
    return jnp.concatenate([three, seven, _shrunk(x)], axis=-1)


def _block_8(conv: ConvLayer, x: jax.Array, name: str, pool_of: Callable[[jax.Array], jax.Array]) -> jax.Array:
    one = conv(x, f"{name}/conv", 320, (1, 1))
    three = conv(x, f"{name}/tower/conv", 384, (1, 1))
    twice = conv(x, f"{name}/tower_1/conv", 448, (1, 1))
    twice = conv(twice, f"{name}/tower_1/conv_1", 384, (3, 3))
    crossed = [
        conv(y, f"{name}/{tower}/mixed/{layer}", 384, kernel)
        for y, tower in ((three, "tower"), (twice, "tower_1"))
        for layer, kernel in (("conv", (1, 3)), ("conv_1", (3, 1)))
    ]
    pool = conv(pool_of(x), f"{name}/tower_2/conv", 192, (1, 1))
    return jnp.concatenate([one, *crossed, pool], axis=-1)


def _shrunk(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), (2, 2), "VALID")


def _mean_pool(x: jax.Array) -> jax.Array:
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def _max_pool(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), (1, 1), "SAME")
