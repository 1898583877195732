"""Shapes and dtypes in signatures are checked while tests run: what breaks one of them raises where it is called."""

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from sagan_jax.metrics.kernel_distance import kernel_distance
from sagan_jax.metrics.moments import Moments, moments_of
from sagan_jax.models.attention import SelfAttention, attend
from sagan_jax.models.layers import DEFAULT_CONFIG
from sagan_jax.objectives.losses import hinge_discriminator, hinge_generator
from sagan_jax.ops.convolution import conv2d
from sagan_jax.ops.resampling import mean_pool

QUERY, KEY, VALUE = jnp.zeros((2, 16, 3)), jnp.zeros((2, 4, 3)), jnp.zeros((2, 4, 5))
LOGITS, MAPS, FEATURES = jnp.zeros(8), jnp.zeros((2, 4, 4, 3)), np.zeros((6, 4))
WRONG = {
    "attention with keys of another length": lambda: attend(QUERY, KEY[:, :, :2], VALUE),
    "attention over vectors": lambda: SelfAttention(DEFAULT_CONFIG).apply({}, QUERY),
    "a convolution of integers": lambda: conv2d(MAPS.astype(jnp.int32), jnp.zeros((3, 3, 3, 5))),
    "a convolution with a kernel for other channels": lambda: conv2d(MAPS, jnp.zeros((3, 3, 2, 5))),
    "pooling one image": lambda: mean_pool(MAPS[0]),
    "a loss of a column": lambda: hinge_discriminator(LOGITS[:, None], LOGITS[:, None]),
    "a loss of logits of unequal number": lambda: hinge_discriminator(LOGITS, LOGITS[:4]),
    "a loss of integers": lambda: hinge_generator(LOGITS.astype(jnp.int32), lambda: LOGITS),
    "features of other lengths": lambda: kernel_distance(FEATURES, FEATURES[:, :3]),
    "moments of pixels": lambda: moments_of(np.zeros((6, 4), np.uint8)),
    "moments in float32": lambda: Moments(2, np.zeros(4, np.float32), np.zeros((4, 4), np.float32)),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_shape_or_dtype_is_found_where_it_is_passed(case):
    with pytest.raises(TypeCheckError):
        WRONG[case]()


def test_what_fits_is_let_through():
    assert attend(QUERY, KEY, VALUE).shape == (2, 16, 5)
    assert conv2d(MAPS.astype(jnp.bfloat16), jnp.zeros((3, 3, 3, 5))).dtype == jnp.bfloat16
    assert hinge_discriminator(LOGITS, LOGITS) == 2
