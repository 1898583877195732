"""The two optimisers: Adam for each network, with its own learning rate and schedule (TTUR).

Reference: Heusel et al. 2017 (arXiv:1706.08500) for the two time scales.
"""

import functools
from typing import NamedTuple

import jax
import optax
from ml_collections import ConfigDict, FrozenConfigDict

from sagan_jax.errors import InputError
from sagan_jax.runtime.sharding import host_device

SCHEDULES = ("constant", "linear", "cosine")


def learning_rate_schedule(config: ConfigDict, total_updates: int, network: str) -> optax.Schedule:
    """Returns the learning rate as a function of the network's own update count.

    Args:
      config: `config.optimizer.generator` or `.discriminator`.
      total_updates: updates of this network in the whole run, where decay ends at 0.
      network: "generator" or "discriminator", for the error's text.

    Raises:
      InputError: the schedule's name is unknown.
    """
    warmup = config.warmup_updates
    match config.schedule:
        case "constant":
            main = optax.constant_schedule(config.learning_rate)
        case "linear":
            main = optax.linear_schedule(config.learning_rate, 0.0, max(1, total_updates - warmup))
        case "cosine":
            main = optax.cosine_decay_schedule(config.learning_rate, max(1, total_updates - warmup))
        case unknown:
            raise InputError(
                "is unknown",
                field=f"optimizer.{network}.schedule",
                value=unknown,
                remedy=f"choose one of {', '.join(SCHEDULES)}",
            )
    if not warmup:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, config.learning_rate, warmup), main], [warmup])


class Optimizers(NamedTuple):
    """One optimiser per network."""

    generator: optax.GradientTransformation
    discriminator: optax.GradientTransformation


def build_optimizers(config: ConfigDict) -> Optimizers:
    """Builds Adam for both networks, as `config.optimizer` says.

    Raises:
      InputError: a schedule's name is unknown.
    """
    generator_updates = config.train.steps
    discriminator_updates = config.train.steps * config.train.discriminator_updates
    return Optimizers(
        _adam(config.optimizer.generator, generator_updates, "generator"),
        _adam(config.optimizer.discriminator, discriminator_updates, "discriminator"),
    )


def _adam(config: ConfigDict, total_updates: int, network: str) -> optax.GradientTransformation:
    total_updates = 0 if config.schedule == "constant" else total_updates
    return _adam_of(FrozenConfigDict(config), total_updates, network)


@functools.cache
def _adam_of(config: FrozenConfigDict, total_updates: int, network: str) -> optax.GradientTransformation:
    """Returns the same optimiser for the same settings, so that a step is compiled once for them."""
    schedule = learning_rate_schedule(config, total_updates, network)
    return optax.adam(schedule, b1=config.beta1, b2=config.beta2, eps=config.epsilon)


def learning_rates(config: ConfigDict, step: int) -> dict[str, float]:
    """Returns those of the last updates of a run that has completed `step` steps, by the names of the metrics.

    Computed on the CPU, where there is one: elsewhere they would wait for the steps that are under way.
    """
    rates = {}
    with jax.default_device(host_device()):
        for network, updates in (("generator", 1), ("discriminator", config.train.discriminator_updates)):
            schedule = learning_rate_schedule(config.optimizer[network], config.train.steps * updates, network)
            rates[f"{network[0]}_learning_rate"] = float(schedule(step * updates - 1))
    return rates
