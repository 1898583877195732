"""Any trained generator as a plain one: what was spectrally normalised while it learned is worked into its weights."""

import dataclasses
from typing import Any

import flax

from sagan_jax.models.discriminator import Discriminator
from sagan_jax.models.generator import Generator
from sagan_jax.models.layers import LayerConfig
from sagan_jax.models.spectral_norm import FREE_KERNEL, KERNEL, normalize_exactly

Tree = Any  # nested dicts of arrays


def plain_generator(generator: Generator) -> Generator:
    """The module that takes `plain_params`; it makes the same images."""
    return generator.clone(config=dataclasses.replace(generator.config, normalized=LayerConfig.normalized))


def plain_discriminator(discriminator: Discriminator) -> Discriminator:
    """The module that takes `plain_params`; it makes the same logits."""
    return discriminator


def plain_params(params: Tree) -> Tree:
    """Weights as they are applied, by the names of the plain module.

    What is normalised is divided by its exact largest singular value. Normalised class tables become gains and biases.
    """
    plain = {}
    for (*layer, name), value in flax.traverse_util.flatten_dict(normalize_exactly(params)).items():
        if name == KERNEL and layer[-1] in ("scale", "bias"):
            plain[tuple(layer)] = 1 + value if layer[-1] == "scale" else value
        else:
            plain[*layer, KERNEL if name == FREE_KERNEL else name] = value
    return flax.traverse_util.unflatten_dict(plain)
