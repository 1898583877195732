"""One update of a network: gradients averaged over the pieces of a batch, then a step of the optimiser."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sagan_jax.models.spectral_norm import largest_sigma
from sagan_jax.objectives.penalty import Penalty, PenaltyInputs
from sagan_jax.runtime.randomness import fold_in_name
from sagan_jax.training.state import NetworkState, Tree
from sagan_jax.training.step_config import TrainStepConfig

Metrics = dict[str, jax.Array]  # name -> [] float32


class Outputs(NamedTuple):
    """What a loss function returns beside the loss.

    Attributes:
      metrics: scalars, averaged over the pieces of a batch.
      batch_stats: of the network after the piece, averaged likewise.
      spectral_stats: of the network after the piece; the same for all pieces, which start from the same u.
    """

    metrics: Metrics
    batch_stats: Tree
    spectral_stats: Tree


LossFunction = Callable[[Tree, Any], tuple[jax.Array, Outputs]]  # (params, piece) -> loss [], outputs


def update_network(
    step_config: TrainStepConfig,
    prefix: str,
    network: NetworkState,
    optimizer: optax.GradientTransformation,
    loss_of: LossFunction,
    batch: Any,
) -> tuple[NetworkState, Metrics]:
    """Updates a network once.

    Args:
      step_config: of the run.
      prefix: of the metrics' names, "d" or "g".
      network: before the update.
      optimizer: of this network.
      loss_of: from parameters and a piece of the batch to the loss.
      batch: tree of arrays [B, ...], cut into `step_config.accumulation_steps` pieces.

    Returns:
      the network after the update, and the metrics of `loss_of` with `d_gradient_norm` and `d_sigma_max`.
    """
    params, pieces = step_config.replicate(network.params), step_config.accumulation_steps
    gradients, outputs = mean_gradients(loss_of, params, batch, pieces, unroll=step_config.unroll)
    metrics = outputs.metrics | {f"{prefix}_gradient_norm": optax.tree.norm(gradients)}
    if outputs.spectral_stats:
        metrics[f"{prefix}_sigma_max"] = largest_sigma(outputs.spectral_stats)
    updates, opt_state = optimizer.update(gradients, network.opt_state, network.params)
    params = optax.apply_updates(network.params, updates)
    return NetworkState(params, outputs.spectral_stats, outputs.batch_stats, opt_state), metrics


def with_penalties(
    prefix: str, metrics: Metrics, penalties: Sequence[Penalty], inputs: PenaltyInputs
) -> tuple[jax.Array, Metrics]:
    """Returns the loss of network "d" or "g", `d_loss` or `g_loss`, with its penalties; and the metrics with them."""
    of_network = ((p.name, p.discriminator if prefix == "d" else p.generator) for p in penalties)
    terms = {f"{prefix}_{name}": term(inputs) for name, term in of_network if term}
    return sum(terms.values(), start=metrics[f"{prefix}_loss"]), metrics | terms


def penalty_keys(step_config: TrainStepConfig, batch_size: int, key: jax.Array) -> jax.Array:
    """Makes keys [B] for the penalties of an update with this key, one for each image."""
    return step_config.shard_batch(jax.random.split(fold_in_name(key, "penalties"), batch_size))


def mean_gradients(
    loss_of: LossFunction, params: Tree, batch: Any, pieces: int, *, unroll: bool
) -> tuple[Tree, Outputs]:
    """Computes the gradients and outputs of `loss_of(params, piece)` over equal pieces of a batch."""
    gradients_of = jax.grad(loss_of, has_aux=True)
    if pieces == 1:
        return gradients_of(params, batch)
    # Piece i takes every n-th image from i on, which leaves a sharded batch where it is.
    split = jax.tree.map(lambda x: x.reshape(-1, pieces, *x.shape[1:]).swapaxes(0, 1), batch)

    def add_piece(total: Any, piece: Any) -> tuple[Any, None]:
        gradients, outputs = gradients_of(params, piece)
        summed = jax.tree.map(jnp.add, total[:2], (gradients, outputs._replace(spectral_stats=None)))
        return (*summed, outputs.spectral_stats), None

    first = jax.tree.map(lambda x: x[0], split)
    gradients, outputs = jax.eval_shape(gradients_of, params, first)
    shapes = (gradients, outputs._replace(spectral_stats=None), outputs.spectral_stats)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    (*total, spectral_stats), _ = loop(add_piece, zeros, split, unroll=unroll)
    gradients, outputs = jax.tree.map(lambda x: x / pieces, tuple(total))
    return gradients, outputs._replace(spectral_stats=spectral_stats)


def loop(body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, inputs: Any, *, unroll: bool) -> tuple[Any, Any]:
    """Runs `jax.lax.scan`, or the same written out flat, for CPUs, where XLA runs a loop's convolutions on one thread.

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
