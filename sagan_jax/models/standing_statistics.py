"""Standing statistics: batch-norm moments measured for given weights, over many batches.

An averaged generator has never been trained on moments of its own, and the live one's
running averages belong to other weights. Measured anew, sampling depends on the weights
and a key alone.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sagan_jax.models.conditional_norm import COLLECTION as BATCH_STATS
from sagan_jax.models.generator import Generator

Tree = Any


def batch_moments(
    generator: Generator, variables: Tree, latents: Float[Array, "batch latent_size"], labels: Int[Array, " batch"]
) -> Tree:
    """Returns `batch_stats` with the moments of exactly this batch; latents [B, Z], labels [B]."""
    no_memory = dataclasses.replace(generator.config, batch_norm_momentum=0.0)
    _, updated = generator.clone(config=no_memory).apply(variables, latents, labels, train=True, mutable=[BATCH_STATS])
    return updated[BATCH_STATS]


def standing_statistics(moments: Sequence[Tree]) -> Tree:
    """Pools the `batch_moments` of several equal batches to those of one large batch.

    Reference: Brock et al. 2018 (arXiv:1809.11096), appendix C; pooled exactly here.
    """
    return _pooled(jax.tree.map(lambda *batches: jnp.stack(batches), *moments))


def _pooled(stats: Tree) -> Tree:
    """Moments [N, C] of N equal batches -> moments [C] of all of them together."""
    if set(stats) == {"mean", "var"}:
        mean = jnp.mean(stats["mean"], axis=0)
        variance_of_means = jnp.mean(jnp.square(stats["mean"] - mean[None]), axis=0)
        return {"mean": mean, "var": jnp.mean(stats["var"], axis=0) + variance_of_means}
    return {name: _pooled(child) for name, child in stats.items()}
