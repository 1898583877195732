"""What a run is made of between two steps: arrays only, no functions or keys."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from sagan_jax.models.generator import IMAGE_CHANNELS
from sagan_jax.models.latent_prior import LatentPrior
from sagan_jax.objectives.penalty import RunningStatistic
from sagan_jax.runtime.randomness import fold_in_name
from sagan_jax.training.networks import Networks
from sagan_jax.training.optimizers import Optimizers

Tree = Any  # nested dicts of arrays


@flax.struct.dataclass
class NetworkState:
    """One network and its optimiser.

    Attributes:
      params: weights, float32.
      spectral_stats: singular vectors and values, see models/spectral_norm.py.
      batch_stats: running moments, see models/conditional_norm.py; empty in the discriminator.
      opt_state: state of the optax optimiser, which counts this network's updates.
    """

    params: Tree
    spectral_stats: Tree
    batch_stats: Tree
    opt_state: Tree

    @property
    def variables(self) -> dict[str, Tree]:
        """Returns what `Module.apply` takes."""
        return {"params": self.params, "spectral_stats": self.spectral_stats, "batch_stats": self.batch_stats}


@flax.struct.dataclass
class TrainState:
    """A whole run.

    Attributes:
      step: [] int32, completed steps; a step is some discriminator updates and one generator update.
      generator, discriminator: the live networks.
      ema_params: exponential moving average of the generator's params; samples are made with these.
      running: statistics that follow the discriminator, [] float32 by name, see objectives/penalty.py; most runs have
        none.
    """

    step: jax.Array
    generator: NetworkState
    discriminator: NetworkState
    ema_params: Tree
    running: dict[str, jax.Array] = dataclasses.field(default_factory=dict)


def create_state(
    networks: Networks,
    optimizers: Optimizers,
    prior: LatentPrior,
    running: Sequence[RunningStatistic],
    key: jax.Array,
) -> TrainState:
    """Creates a fresh state, a function of the key alone; pure, so that it can be jitted or only shaped.

    Args:
      networks, optimizers, prior, running: of the run.
      key: of the initial weights.
    """
    resolution = networks.generator.architecture.resolutions[-1]
    labels = jnp.zeros((1,), jnp.int32)
    generator = networks.generator.init(
        fold_in_name(key, "generator"), jnp.zeros((1, prior.latent_size)), labels, train=True
    )
    images = jnp.zeros((1, resolution, resolution, IMAGE_CHANNELS))
    discriminator = networks.discriminator.init(fold_in_name(key, "discriminator"), images, labels)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        generator=_network_state(generator, optimizers.generator),
        discriminator=_network_state(discriminator, optimizers.discriminator),
        # A copy, so that no two leaves share a buffer when the state is donated.
        ema_params=jax.tree.map(jnp.copy, generator["params"]),
        running={statistic.name: jnp.float32(statistic.initial) for statistic in running},
    )


def _network_state(variables: Tree, optimizer: optax.GradientTransformation) -> NetworkState:
    return NetworkState(
        params=variables["params"],
        spectral_stats=variables.get("spectral_stats", {}),
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(variables["params"]),
    )


def attention_gammas(state: TrainState) -> dict[str, jax.Array]:
    """Returns every attention layer's gamma, as `g_gamma_32`, and local block's, as `g_gamma_local_block_32`."""
    gammas = {}
    for prefix, params in (("g", state.generator.params), ("d", state.discriminator.params)):
        for path, value in flax.traverse_util.flatten_dict(params).items():
            if path[-1] == "gamma":
                gammas[f"{prefix}_gamma_{path[0].removeprefix('attention_')}"] = value
    return gammas
