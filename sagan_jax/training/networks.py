"""From a config to the pair of networks."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from ml_collections import ConfigDict

from sagan_jax.errors import InputError
from sagan_jax.models.architecture import discriminator_architecture, generator_architecture
from sagan_jax.models.conditioning import CONDITIONINGS
from sagan_jax.models.discriminator import Discriminator
from sagan_jax.models.generator import Generator
from sagan_jax.models.layers import CLASS_TABLES, KERNELS, XAVIER_UNIFORM, LayerConfig

INITIALIZERS = {
    "xavier_uniform": XAVIER_UNIFORM,
    "orthogonal": nn.initializers.orthogonal(),
}
NORMALIZED = {"kernels": (KERNELS,), "kernels and class tables": (KERNELS, CLASS_TABLES), "nothing": ()}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class Networks(NamedTuple):
    """The two players, as modules without weights."""

    generator: Generator
    discriminator: Discriminator


def build_networks(config: ConfigDict) -> Networks:
    """The networks of a config whose `model.num_classes` is known.

    Raises:
      InputError: a field of `config.model` is impossible.
    """
    model, resolution = config.model, config.data.resolution
    layer_config = LayerConfig(
        compute_dtype=_choice(DTYPES, "model.compute_dtype", model.compute_dtype),
        kernel_init=_choice(INITIALIZERS, "model.init", model.init),
        spectral_epsilon=model.spectral_epsilon,
        batch_norm_epsilon=model.batch_norm_epsilon,
        batch_norm_momentum=model.batch_norm_momentum,
        rematerialize=model.rematerialize,
    )
    spectral_norm = _choice(NORMALIZED, "model.generator.spectral_norm", model.generator.spectral_norm)
    generator = generator_architecture(
        resolution,
        model.generator.channels,
        model.generator.multipliers,
        model.generator.attention,
        model.generator.local_block,
    )
    discriminator = discriminator_architecture(
        resolution,
        model.discriminator.channels,
        model.discriminator.multipliers,
        model.discriminator.attention,
        model.discriminator.final_resolution,
        model.discriminator.local_block,
    )
    return Networks(
        Generator(
            generator,
            model.num_classes,
            dataclasses.replace(layer_config, spectral_norm=spectral_norm),
            conditioning=_choice(CONDITIONINGS, "model.generator.conditioning", model.generator.conditioning),
        ),
        Discriminator(discriminator, model.num_classes, layer_config),
    )


def _choice(choices: dict[str, Any], field: str, name: str) -> Any:
    if name not in choices:
        raise InputError(f"{field} = {name!r} is unknown: choose one of {', '.join(choices)}.")
    return choices[name]
