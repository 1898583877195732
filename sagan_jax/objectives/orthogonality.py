"""Orthogonal regularisation: the filters of a kernel are kept from pointing the same way."""

import flax.traverse_util
import jax.numpy as jnp
from jaxtyping import Array, Float

from sagan_jax.models.spectral_norm import as_matrix
from sagan_jax.objectives.losses import Scalar
from sagan_jax.objectives.penalty import PenaltyInputs


def orthogonality(inputs: PenaltyInputs) -> Scalar:
    """Computes the sum over kernels W [N, C] of |W^T W without its diagonal|^2, so of products of different filters.

    The embedding of classes is left out. To be added to G's loss; 1e-4 in the paper. Products are in the default
    precision of the device, and computed for each piece of an accumulated batch.

    Reference: Brock et al. 2018 (arXiv:1809.11096), equation 3.
    """
    total = jnp.zeros(())
    for path, kernel in flax.traverse_util.flatten_dict(inputs.params).items():
        if path[-1] == "kernel" and "embedding" not in path:
            total += _products_of_different_columns(as_matrix(jnp.asarray(kernel)))
    return total


def _products_of_different_columns(matrix: Float[Array, "rows columns"]) -> Scalar:
    # W W^T has as large a norm as W^T W, of which G's first layer has hundreds of millions of entries.
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    squared_lengths = jnp.sum(jnp.square(matrix), axis=0)
    return jnp.sum(jnp.square(tall.T @ tall)) - jnp.sum(jnp.square(squared_lengths))
