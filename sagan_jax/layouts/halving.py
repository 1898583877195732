"""Finds which blocks of a discriminator halve the side of the image, where the shapes of its weights do not say so."""

import math
from typing import NamedTuple

from sagan_jax.errors import InputError

USUAL_FINAL = 4  # side of the last feature map in all networks of these programs that widen


class BlockShape(NamedTuple):
    """A block of a discriminator: its input and output channels, and whether its shortcut has a convolution."""

    in_channels: int
    out_channels: int
    convolved_shortcut: bool

    @property
    def halves(self) -> bool | None:
        """Whether the block halves the side; None where its shortcut is needed for its width anyway."""
        if not self.convolved_shortcut:
            return False
        return True if self.in_channels == self.out_channels else None


def sides(blocks: list[BlockShape], resolution: int, final: int | None) -> tuple[tuple[int, ...], str]:
    """Finds the side of the feature map after each block.

    In all of these programs blocks halve first, down to the final side, and then keep it. A block that keeps its width
    has a convolution in its shortcut only if it halves, but one that changes it always has.

    Args:
      blocks: in order; the first one halves.
      resolution: side of the images.
      final: side of the last feature map, or None if nobody said.

    Returns:
      The sides, and a note on what was assumed; empty if nothing was.

    Raises:
      InputError: no choice of halving blocks gives the final side, or nobody said it and it is not the usual one.
    """
    known = [True, *(block.halves for block in blocks[1:])]
    unknown = [index for index, halves in enumerate(known) if halves is None]
    needed = math.log2(resolution / (final or USUAL_FINAL)) - sum(halves is True for halves in known)
    halving = {index for index, halves in enumerate(known) if halves} | set(unknown[: max(0, int(needed))])
    found, side = [], resolution
    for index in range(len(blocks)):
        side //= 2 if index in halving else 1
        found.append(side)
    if final and side != final:
        remedy = f"its blocks can end at {side}"
        raise InputError("cannot be reached by halving", field="--final-resolution", value=final, remedy=remedy)
    if not unknown or final:
        return tuple(found), ""
    if side > USUAL_FINAL:
        raise InputError(
            f"the discriminator has {len(unknown)} blocks that widen, and its weights do not say which of them halve"
            " the image: give the side of its last feature map with --final-resolution."
        )
    return tuple(found), (
        f"the weights do not say which of {len(unknown)} widening blocks of the discriminator halve the image; taken as"
        f" usual, down to {side} px: give --final-resolution if it was another"
    )
