"""Averaging gradients over the pieces of a batch, and loops that suit the device."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sagan_jax.training.state import Tree


def mean_gradients(
    loss_of: Callable[[Tree, Any], tuple[jax.Array, Any]], weights: Tree, batch: Any, pieces: int, *, unroll: bool
) -> tuple[Tree, Any]:
    """Gradients and auxiliary outputs of `loss_of(weights, piece)`, averaged over equal pieces of a batch."""
    value_and_gradients = jax.grad(loss_of, has_aux=True)
    if pieces == 1:
        return value_and_gradients(weights, batch)
    # Piece i takes every n-th image from i on, which leaves a sharded batch where it is.
    split = jax.tree.map(lambda x: x.reshape(-1, pieces, *x.shape[1:]).swapaxes(0, 1), batch)

    def add_piece(total: Any, piece: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, value_and_gradients(weights, piece)), None

    first = jax.tree.map(lambda x: x[0], split)
    shapes = jax.eval_shape(value_and_gradients, weights, first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total, _ = loop(add_piece, zeros, split, unroll=unroll)
    return jax.tree.map(lambda x: x / pieces, total)


def loop(body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, inputs: Any, *, unroll: bool) -> tuple[Any, Any]:
    """`jax.lax.scan`, or the same written out flat.

    `scan(..., unroll=True)` is no substitute: it leaves a while loop of one turn, which
    XLA:CPU opens only after it has chosen its slow convolutions.
    """
    length = len(jax.tree.leaves(inputs)[0])
    if not (unroll or length == 1):
        return jax.lax.scan(body, carry, inputs)
    outputs = []
    for i in range(length):
        carry, output = body(carry, jax.tree.map(lambda x, i=i: x[i], inputs))
        outputs.append(output)
    return carry, jax.tree.map(lambda *each: jnp.stack(each), *outputs)
