"""One training step, pure: some discriminator updates, one generator update, the moving average."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from sagan_jax.data.batch import Batch
from sagan_jax.data.transforms import random_flip, to_signed_float
from sagan_jax.models.latent_prior import LatentPrior
from sagan_jax.models.spectral_norm import largest_sigma
from sagan_jax.runtime.randomness import named
from sagan_jax.training.losses import AdversarialLoss, adversarial_loss
from sagan_jax.training.networks import Networks, build_networks
from sagan_jax.training.optimizers import Optimizers, build_optimizers
from sagan_jax.training.state import NetworkState, TrainState, Tree, apply_gradients

Metrics = dict[str, jax.Array]  # name -> [] float32


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything about a step that is fixed for a run.

    Attributes:
      networks, optimizers, loss: the modules and functions of the two players.
      prior: of the latents and labels that the generator is given.
      accumulation_steps: equal pieces of a batch whose gradients are averaged.
      ema_decay, ema_start_step: of the averaged generator.
      flip: mirror half of the real images.
      unroll: lay the loops over updates and pieces out flat. For CPUs, where XLA runs the
        convolutions inside a loop on a single thread.
    """

    networks: Networks
    optimizers: Optimizers
    loss: AdversarialLoss
    prior: LatentPrior
    accumulation_steps: int
    ema_decay: float
    ema_start_step: int
    flip: bool
    unroll: bool


def build_recipe(config: ConfigDict, class_frequencies: tuple[float, ...] = ()) -> Recipe:
    """The recipe of a config whose `model.num_classes` is known. Raises InputError on impossible fields.

    Args:
      config: of the run.
      class_frequencies: of generated labels, see `LatentPrior`.
    """
    return Recipe(
        networks=build_networks(config),
        optimizers=build_optimizers(config),
        loss=adversarial_loss(config.train.loss),
        prior=LatentPrior(config.model.latent_size, config.model.num_classes, class_frequencies),
        accumulation_steps=config.train.accumulation_steps,
        ema_decay=config.train.ema_decay,
        ema_start_step=config.train.ema_start_step,
        flip=config.data.flip,
        unroll=jax.default_backend() == "cpu",
    )


def train_step(recipe: Recipe, state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
    """One step of the run.

    Args:
      recipe: bound by `functools.partial` before jit.
      state: the run after `state.step` steps.
      batch: real images [S, B, H, W, 3] uint8 and labels [S, B] for S discriminator updates.
      key: the run's key, the same in every step.

    Returns:
      The run after one more step, and the step's metrics; those of the discriminator are
      means over its S updates.
    """
    key = jax.random.fold_in(key, state.step)

    def update(discriminator: NetworkState, inputs: tuple[Batch, jax.Array]) -> tuple[NetworkState, Metrics]:
        return discriminator_update(recipe, discriminator, state.generator, *inputs)

    update_keys = jax.random.split(named(key, "discriminator"), len(batch.labels))
    discriminator, metrics = loop(recipe, update, state.discriminator, (batch, update_keys))
    generator, generator_metrics = generator_update(
        recipe, state.generator, discriminator, batch.labels.shape[1], named(key, "generator")
    )
    new_state = TrainState(
        step=state.step + 1,
        generator=generator,
        discriminator=discriminator,
        ema_params=moving_average(recipe, state.ema_params, generator.params, state.step + 1),
    )
    metrics = jax.tree.map(jnp.mean, metrics) | generator_metrics
    return new_state, metrics | attention_gates(new_state)


def discriminator_update(
    recipe: Recipe, discriminator: NetworkState, generator: NetworkState, real: Batch, key: jax.Array
) -> tuple[NetworkState, Metrics]:
    """One update of the discriminator on B real images [B, H, W, 3] uint8 and as many generated ones.

    The generator is frozen: neither its singular vectors nor its running moments move.
    """
    flip_key, latents_key = jax.random.split(key)
    real_images = to_signed_float(jnp.asarray(real.images))
    if recipe.flip:
        real_images = random_flip(real_images, flip_key)
    latents, fake_labels = recipe.prior.draw(len(real.labels), latents_key)
    fake_images: Any = recipe.networks.generator.apply(generator.variables, latents, fake_labels, train=True)

    def loss_of(params: Tree, piece: Any) -> tuple[jax.Array, Any]:
        real_images, real_labels, fake_images, fake_labels = piece
        # One call on both halves: they see the same weights and u moves once. Interleaved,
        # so that a batch sharded over devices stays where it is.
        logits, updated = recipe.networks.discriminator.apply(
            discriminator.variables | {"params": params},
            interleave(real_images, fake_images),
            interleave(real_labels, fake_labels),
            mutable=["spectral_stats"],
        )
        real_logits, fake_logits = logits[0::2], logits[1::2]
        boundary = recipe.loss.boundary
        loss = recipe.loss.discriminator(real_logits, fake_logits)
        metrics = {
            "d_loss": loss,
            "real_logits": jnp.mean(real_logits),
            "fake_logits": jnp.mean(fake_logits),
            "d_accuracy": (jnp.mean(real_logits > boundary) + jnp.mean(fake_logits <= boundary)) / 2,
        }
        return loss, (updated["spectral_stats"], metrics)

    pieces = (real_images, real.labels, fake_images, fake_labels)
    gradients, (spectral_stats, metrics) = mean_gradients(recipe, loss_of, discriminator.params, pieces)
    metrics["d_gradient_norm"] = optax.tree.norm(gradients)
    metrics["d_sigma_max"] = largest_sigma(spectral_stats)
    discriminator = apply_gradients(discriminator, gradients, recipe.optimizers.discriminator)
    return dataclasses.replace(discriminator, spectral_stats=spectral_stats), metrics


def generator_update(
    recipe: Recipe, generator: NetworkState, discriminator: NetworkState, batch_size: int, key: jax.Array
) -> tuple[NetworkState, Metrics]:
    """One update of the generator against the frozen discriminator, on `batch_size` fresh latents.

    With accumulation each piece has batch-norm moments of its own; running moments take their mean.
    """
    pieces = recipe.prior.draw(batch_size, key)

    def loss_of(params: Tree, piece: Any) -> tuple[jax.Array, Any]:
        latents, labels = piece
        fake_images, updated = recipe.networks.generator.apply(
            generator.variables | {"params": params},
            latents,
            labels,
            train=True,
            mutable=["spectral_stats", "batch_stats"],
        )
        fake_logits: Any = recipe.networks.discriminator.apply(discriminator.variables, fake_images, labels)
        loss = recipe.loss.generator(fake_logits)
        return loss, (updated["spectral_stats"], updated["batch_stats"], {"g_loss": loss})

    gradients, (spectral_stats, batch_stats, metrics) = mean_gradients(recipe, loss_of, generator.params, pieces)
    metrics["g_gradient_norm"] = optax.tree.norm(gradients)
    metrics["g_sigma_max"] = largest_sigma(spectral_stats)
    generator = apply_gradients(generator, gradients, recipe.optimizers.generator)
    return dataclasses.replace(generator, spectral_stats=spectral_stats, batch_stats=batch_stats), metrics


def mean_gradients(
    recipe: Recipe, loss_of: Callable[[Tree, Any], tuple[jax.Array, Any]], params: Tree, batch: Any
) -> tuple[Tree, Any]:
    """Gradients and auxiliary outputs of `loss_of(params, piece)`, averaged over the pieces of a batch.

    Every piece starts from the same spectral_stats and weights, so all arrive at the same
    new spectral_stats: accumulation still means one power iteration per update.
    """
    value_and_gradients = jax.grad(loss_of, has_aux=True)
    count = recipe.accumulation_steps
    if count == 1:
        return value_and_gradients(params, batch)
    # Piece i takes every count-th image from i on, which leaves a sharded batch where it is.
    pieces = jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), batch)

    def add_piece(total: Any, piece: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, value_and_gradients(params, piece)), None

    first = jax.tree.map(lambda x: x[0], pieces)
    shapes = jax.eval_shape(value_and_gradients, params, first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total, _ = loop(recipe, add_piece, zeros, pieces)
    return jax.tree.map(lambda x: x / count, total)


def loop(recipe: Recipe, body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, inputs: Any) -> tuple[Any, Any]:
    """`jax.lax.scan`, or the same written out flat if `recipe.unroll`.

    `scan(..., unroll=True)` is no substitute: it leaves a while loop of one turn, which
    XLA:CPU opens only after it has chosen its slow convolutions.
    """
    length = len(jax.tree.leaves(inputs)[0])
    if not (recipe.unroll or length == 1):
        return jax.lax.scan(body, carry, inputs)
    outputs = []
    for i in range(length):
        carry, output = body(carry, jax.tree.map(lambda x, i=i: x[i], inputs))
        outputs.append(output)
    return carry, jax.tree.map(lambda *each: jnp.stack(each), *outputs)


def interleave(first: jax.Array, second: jax.Array) -> jax.Array:
    """[B, ...] and [B, ...] -> [2B, ...] with first at even and second at odd positions."""
    return jnp.stack([first, second], axis=1).reshape(-1, *first.shape[1:])


def moving_average(recipe: Recipe, average: Tree, params: Tree, step: jax.Array) -> Tree:
    """The exponential moving average after `step` steps; a copy of params up to `ema_start_step`.

    From there on the decay rises with the steps averaged, n / (n + 9), up to `ema_decay`, so
    that the average of a short run is not made of its beginning.
    """
    averaged = jnp.maximum(step - recipe.ema_start_step, 0)
    decay = jnp.minimum(averaged / (averaged + 9), recipe.ema_decay)
    return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, average, params)


def attention_gates(state: TrainState) -> Metrics:
    """Every attention layer's gamma, as `g_gamma_32`: how much its network uses it."""
    gates = {}
    for prefix, params in (("g", state.generator.params), ("d", state.discriminator.params)):
        for path, value in flax.traverse_util.flatten_dict(params).items():
            if path[-1] == "gamma":
                gates[f"{prefix}_gamma_{path[0].removeprefix('attention_')}"] = value
    return gates
