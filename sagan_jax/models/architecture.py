"""Which layers a network has: resolutions and widths from a few numbers, checked before anything is built."""

import dataclasses
import itertools

from sagan_jax.errors import InputError

MIN_RESOLUTION = 16
MAX_RESOLUTION = 512
SEED_RESOLUTION = 4  # side of the feature map that the generator's dense layer makes

# Generator widths, as multiples of `channels`, at 4x4 and after each block. 128 is the
# authors' list (generator.py of brain-research/self-attention-gan); 64 drops its widest
# block; 256 and 512 are those of BigGAN (Brock et al. 2018, tables 7 and 9).
STANDARD_MULTIPLIERS: dict[int, tuple[int, ...]] = {
    16: (4, 2, 1),
    32: (8, 4, 2, 1),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The feature maps of one network, in the order in which an image or a latent passes them.

    Attributes:
      resolutions: side of the square feature map after each block, in pixels. For the
        generator the first entry is the 4x4 map of its dense layer.
      widths: channels of the same feature maps.
      attention: the resolutions whose feature map passes through self-attention.
      local_block: those whose feature map passes through a local block of as many parameters instead.
    """

    resolutions: tuple[int, ...]
    widths: tuple[int, ...]
    attention: tuple[int, ...]
    local_block: tuple[int, ...] = ()

    def first_of_resolution(self, index: int) -> bool:
        """Returns whether no block before this one has its resolution; only the first of several attends."""
        return self.resolutions.index(self.resolutions[index]) == index


def check_resolution(resolution: int) -> None:
    """Raises InputError unless `resolution` is a power of two from 16 to 512."""
    if resolution not in STANDARD_MULTIPLIERS:
        raise InputError(
            "is impossible",
            field="resolution",
            value=resolution,
            remedy=f"it must be a power of two from {MIN_RESOLUTION} to {MAX_RESOLUTION}"
            f" ({_listing(STANDARD_MULTIPLIERS)})",
        )


def generator_architecture(
    resolution: int,
    channels: int,
    multipliers: tuple[int, ...] = (),
    attention_resolutions: tuple[int, ...] = (),
    local_block_resolutions: tuple[int, ...] = (),
) -> Architecture:
    """Returns the generator's feature maps: 4x4 from the dense layer, then one doubling per block.

    Args:
      resolution: side of the images in pixels, a power of two from 16 to 512.
      channels: width that the multipliers multiply.
      multipliers: one per feature map, from 4x4 up to `resolution`; empty: the standard list.
      attention_resolutions: those to attend at; any of the block outputs, 8 to `resolution`.
      local_block_resolutions: those to have a local block at; likewise.

    Raises:
      InputError: the numbers do not describe a network.
    """
    check_resolution(resolution)
    multipliers = tuple(multipliers) or STANDARD_MULTIPLIERS[resolution]
    resolutions = tuple(SEED_RESOLUTION << i for i in range((resolution // SEED_RESOLUTION).bit_length()))
    if len(multipliers) != len(resolutions):
        raise InputError(
            f"has {len(multipliers)} entries, but resolution {resolution} needs {len(resolutions)}, one for each of"
            f" {_listing(resolutions)} px",
            field="multipliers",
            value=multipliers,
            remedy="leave it empty for the standard list",
        )
    widths = _widths(channels, multipliers)
    _check_places("attention_resolutions", attention_resolutions, resolutions[1:], resolution)
    _check_places("local_block_resolutions", local_block_resolutions, resolutions[1:], resolution)
    return Architecture(resolutions, widths, tuple(attention_resolutions), tuple(local_block_resolutions))


def discriminator_architecture(
    resolution: int,
    channels: int,
    multipliers: tuple[int, ...] = (),
    attention_resolutions: tuple[int, ...] = (),
    final_resolution: int = 4,
    local_block_resolutions: tuple[int, ...] = (),
) -> Architecture:
    """Returns the discriminator's feature maps: one halving per block down to `final_resolution`, then none.

    Args:
      resolution: side of the images in pixels, a power of two from 16 to 512.
      channels: width that the multipliers multiply.
      multipliers: one per block, the first sees the image; empty: the standard generator list, reversed.
      attention_resolutions: those to attend at; any of the block outputs.
      final_resolution: side of the feature map that is summed; 4 in the authors' code, 8 for CIFAR.
      local_block_resolutions: those to have a local block at; any of the block outputs.

    Raises:
      InputError: the numbers do not describe a network.
    """
    check_resolution(resolution)
    multipliers = tuple(multipliers) or STANDARD_MULTIPLIERS[resolution][::-1]
    allowed_finals = tuple(SEED_RESOLUTION << i for i in range((resolution // SEED_RESOLUTION).bit_length() - 1))
    if final_resolution not in allowed_finals:
        raise InputError(
            f"cannot be reached from resolution {resolution} by halving",
            field="final_resolution",
            value=final_resolution,
            remedy=f"it must be one of {_listing(allowed_finals)}",
        )
    halvings = (resolution // final_resolution).bit_length() - 1
    if len(multipliers) < halvings:
        raise InputError(
            f"has {len(multipliers)} entries, but going from {resolution} to {final_resolution} px takes at least"
            f" {halvings} blocks",
            field="multipliers",
            value=multipliers,
            remedy="leave it empty for the standard list",
        )
    resolutions = tuple(max(resolution >> (i + 1), final_resolution) for i in range(len(multipliers)))
    widths = _widths(channels, multipliers)
    _check_places("attention_resolutions", attention_resolutions, resolutions, resolution)
    _check_places("local_block_resolutions", local_block_resolutions, resolutions, resolution)
    return Architecture(resolutions, widths, tuple(attention_resolutions), tuple(local_block_resolutions))


def check_num_classes(num_classes: int) -> None:
    """Raises InputError unless `num_classes` is a whole number from 0 on."""
    if not isinstance(num_classes, int) or num_classes < 0:
        remedy = "give the number of classes, or 0 for an unconditional network"
        raise InputError("is impossible", field="num_classes", value=num_classes, remedy=remedy)


def check_architecture(architecture: Architecture, first: int) -> None:
    """Raises ValueError unless this is a network that could have been built; for one read from a file.

    Args:
      architecture: any numbers.
      first: side of its first feature map.
    """
    resolutions, widths = architecture.resolutions, architecture.widths
    places = {*architecture.attention, *architecture.local_block}
    steps = [(later / earlier) for earlier, later in itertools.pairwise(resolutions)]
    sound = 2 <= len(resolutions) == len(widths) <= 16 and resolutions[0] == first
    sound = sound and (all(step == 2 for step in steps) or all(step in (0.5, 1) for step in steps))
    sound = sound and min(resolutions) >= SEED_RESOLUTION and max(resolutions) <= MAX_RESOLUTION
    if not sound or not places <= set(resolutions) or not all(0 < width <= 2**16 for width in widths):
        raise ValueError(f"no network has {architecture}")


def _widths(channels: int, multipliers: tuple[int, ...]) -> tuple[int, ...]:
    if not all(isinstance(number, int) and number >= 1 for number in (channels, *multipliers)):
        raise InputError(
            f"with multipliers {multipliers} gives an impossible layer",
            field="channels",
            value=channels,
            remedy="all of them must be whole numbers from 1 on",
        )
    return tuple(channels * m for m in multipliers)


def _check_places(field: str, places: tuple[int, ...], present: tuple[int, ...], resolution: int) -> None:
    if not isinstance(places, tuple | list):
        raise InputError("is no tuple of resolutions", field=field, value=places, remedy="write it such as (32,)")
    for wanted in places:
        if wanted not in present:
            raise InputError(
                f"asks for {wanted} px, which a network for {resolution} px images does not have there",
                field=field,
                value=tuple(places),
                remedy=f"choose from {_listing(sorted(set(present)))}",
            )


def _listing(numbers: object) -> str:
    return ", ".join(str(n) for n in numbers)  # type: ignore[attr-defined]
