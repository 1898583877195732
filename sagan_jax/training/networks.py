"""Builds the pair of networks that a config describes."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from ml_collections import ConfigDict

from sagan_jax.errors import InputError
from sagan_jax.models.attention import ATTENTIONS
from sagan_jax.models.blocks import BLOCKS
from sagan_jax.models.conditioning import CONDITIONINGS
from sagan_jax.models.discriminator import Discriminator, build_discriminator
from sagan_jax.models.generator import Generator, build_generator
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


# Arguments of `build_generator` and `build_discriminator` and the fields of `config.model.generator` and
# `config.model.discriminator` that give them; the others have the names of the arguments.
FIELDS = {"attention_resolutions": "attention", "local_block_resolutions": "local_block"}


def build_networks(config: ConfigDict) -> Networks:
    """Builds the networks of a config whose `model.num_classes` is known.

    Raises:
      InputError: a field of `config.model` is impossible.
    """
    model = config.model
    layer_config = LayerConfig(
        compute_dtype=_choice(DTYPES, "model.compute_dtype", model.compute_dtype),
        kernel_init=_choice(INITIALIZERS, "model.init", model.init),
        spectral_epsilon=model.spectral_epsilon,
        batch_norm_epsilon=model.batch_norm_epsilon,
        batch_norm_momentum=model.batch_norm_momentum,
        rematerialize=model.rematerialize,
    )
    definitions = {
        "attention": _choice(ATTENTIONS, "model.attention", model.attention),
        "blocks": _choice(BLOCKS, "model.blocks", model.blocks),
    }
    spectral_norm = _choice(NORMALIZED, "model.generator.spectral_norm", model.generator.spectral_norm)
    with _config_fields("generator"):
        generator = build_generator(
            config.data.resolution,
            num_classes=max(0, model.num_classes),
            **_shape(model.generator),
            **definitions,
            config=dataclasses.replace(layer_config, spectral_norm=spectral_norm),
            conditioning=_choice(CONDITIONINGS, "model.generator.conditioning", model.generator.conditioning),
        )
    with _config_fields("discriminator"):
        discriminator = build_discriminator(
            config.data.resolution,
            num_classes=max(0, model.num_classes),
            **_shape(model.discriminator),
            **definitions,
            final_resolution=model.discriminator.final_resolution,
            config=layer_config,
        )
    return Networks(generator, discriminator)


def _shape(network: ConfigDict) -> dict[str, Any]:
    names = ("channels", "multipliers", "attention_resolutions", "local_block_resolutions")
    return {name: network[FIELDS.get(name, name)] for name in names}


@contextlib.contextmanager
def _config_fields(network: str) -> Iterator[None]:
    """Renames the argument that an error within names to the config field that gives it."""
    try:
        yield
    except InputError as error:
        if error.field.startswith("model."):
            raise
        field = FIELDS.get(error.field, error.field)
        prefix = "data" if field == "resolution" else f"model.{network}"
        raise error.renamed(f"{prefix}.{field}") from error


def _choice(choices: dict[str, Any], field: str, name: str) -> Any:
    if name not in choices:
        raise InputError("is unknown", field=field, value=name, remedy=f"choose one of {', '.join(choices)}")
    return choices[name]
