"""Describes how a program stores a SAGAN: names of layers, their order, and what they compute."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sagan_jax.layouts.stored import Stored


class Block(NamedTuple):
    """Names of the layers in a residual block; those of the norms are empty in a discriminator."""

    conv_0: str
    conv_1: str
    shortcut: str
    norm_0: str = ""
    norm_1: str = ""


class AttentionNames(NamedTuple):
    """Names of the layers in an attention block, and of the array `gamma`."""

    query: str
    key: str
    value: str
    output: str
    gamma: str


class Network(NamedTuple):
    """Names of the layers of a network.

    Attributes:
      parts: regular expression for blocks and attention, with groups for their numbers.
      first: blocks before all others.
      block: layers in a block.
      dense: first layer of a generator; last layer of a discriminator.
      norm, to_image: last layers of a generator.
      embedding: of a discriminator.
      attention: the only attention block, where its name has no number; its place then follows from its width.
    """

    parts: str
    block: Block
    dense: str
    first: tuple[str, ...] = ()
    norm: str = ""
    to_image: str = ""
    embedding: str = ""
    attention: str = ""


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a program stores a SAGAN.

    Attributes:
      source: repository and files of its code.
      generator, discriminator: names of their layers.
      attention: names in an attention block.
      joined: prefix that the discriminator's names get where it comes from a file of its own.
      moments: names of running mean and variance, in a block's batch norm and in the last one.
      tables: takes gains and biases [classes, C] of a batch norm from a file.
      affine: names of gain and bias of the last batch norm.
      epsilon: returns the epsilon of the batch norms in a file.
      ignored: regular expressions for names that sampling does not need.
      bgr: whether the channels of images are in the order blue, green, red.
      inplace_relu: whether the discriminator activates in place, so that its shortcuts see ReLU(x).
      tensorflow: whether kernels are [height, width, in, out], as in this package.
    """

    source: str
    generator: Network
    discriminator: Network
    attention: AttentionNames
    joined: str
    moments: tuple[tuple[str, str], tuple[str, str]]
    tables: Callable[[Stored, str], tuple[np.ndarray, np.ndarray]]
    affine: tuple[str, str]
    epsilon: Callable[[Stored], float]
    ignored: tuple[str, ...] = ()
    bgr: bool = False
    inplace_relu: bool = False
    tensorflow: bool = False
