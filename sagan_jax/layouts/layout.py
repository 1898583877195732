"""What there is to know of how a program keeps a SAGAN: names of layers, their order, and what they compute."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sagan_jax.layouts.stored import Stored


class Block(NamedTuple):
    """The layers in a residual block; the norms are empty in a discriminator."""

    conv_0: str
    conv_1: str
    shortcut: str
    norm_0: str = ""
    norm_1: str = ""


class AttentionNames(NamedTuple):
    """The layers in an attention block; `gamma` is an array."""

    query: str
    key: str
    value: str
    output: str
    gamma: str


class Network(NamedTuple):
    """The layers of a network.

    Attributes:
      parts: pattern of the names of blocks and attention, with groups for their numbers.
      first: blocks that come before all others.
      block: names in a block.
      dense: the generator's first layer; the discriminator's last.
      norm, to_image: of the generator.
      embedding: of the discriminator.
      attention: the one attention block where `parts` does not tell its place, which then follows from its width.
    """

    parts: str
    block: Block
    dense: str
    first: tuple[str, ...] = ()
    norm: str = ""
    to_image: str = ""
    embedding: str = ""
    attention: str = ""


class Prefixes(NamedTuple):
    """Of all names of either network, and patterns of what has no meaning beside them."""

    generator: str
    discriminator: str
    ignored: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a program keeps a SAGAN.

    Attributes:
      source: its code, for people.
      generator, discriminator: their layers.
      attention: names in an attention block.
      prefixes: of names; for each network the first that fits.
      moments: names of the running mean and variance in a batch norm of a block, and of the last one.
      tables: gains and biases [classes, C] of a batch norm.
      affine: names of gain and bias of the last batch norm.
      epsilon: of the batch norms.
      ignored: patterns of names that have no meaning for us.
      bgr: whether the colours of images are in the order blue, green, red.
      inplace_relu: whether the discriminator activates in place, so that its shortcuts see ReLU(x).
      tensorflow: whether kernels are [height, width, in, out], as ours.
    """

    source: str
    generator: Network
    discriminator: Network
    attention: AttentionNames
    prefixes: tuple[Prefixes, ...]
    moments: tuple[tuple[str, str], tuple[str, str]]
    tables: Callable[[Stored, str], tuple[np.ndarray, np.ndarray]]
    affine: tuple[str, str]
    epsilon: Callable[[Stored], float]
    ignored: tuple[str, ...] = ()
    bgr: bool = False
    inplace_relu: bool = False
    tensorflow: bool = False
