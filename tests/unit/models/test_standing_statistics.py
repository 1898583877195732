"""Standing statistics are those of one large batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import initialised

from sagan_jax.models.generator import build_generator
from sagan_jax.models.standing_statistics import batch_moments, standing_statistics

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def test_standing_statistics_are_those_of_one_large_batch():
    generator = build_generator(16, num_classes=3, channels=2, attention_resolutions=())
    latents = jax.random.normal(jax.random.key(0), (3, 4, 8))
    labels = jnp.zeros((3, 4), jnp.int32)
    variables = initialised(generator, jax.random.key(1), latents[0], labels[0], train=True)
    frozen = {name: variables[name] for name in ("params", "spectral_stats")}
    pooled = standing_statistics([batch_moments(generator, frozen, *b) for b in zip(latents, labels, strict=True)])
    # The first norm sees the same input whichever batch an image is in, so there pooling is exact.
    whole = batch_moments(generator, frozen, latents.reshape(12, 8), labels.reshape(12))
    for name in ("mean", "var"):
        np.testing.assert_allclose(
            pooled["block_8"]["norm_0"][name], whole["block_8"]["norm_0"][name], rtol=1e-4, atol=1e-6
        )
