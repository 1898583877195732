"""Finds where the networks lie in another program's file: the prefixes of their names."""

import re
from collections.abc import Iterable

from sagan_jax.errors import InputError
from sagan_jax.layouts.layout import Layout
from sagan_jax.layouts.stored import Stored

AVERAGED = re.compile("ema|avg|average", re.IGNORECASE)  # in the prefix of a generator whose weights are averages


def generator_prefix(layout: Layout, stored: Stored) -> str:
    """Returns the prefix of the generator's names, of the averaged one where there are two.

    Raises:
      InputError: the file has no generator of this layout, or several that may be meant.
    """
    network = layout.generator
    found = _prefixes(layout, stored, network.dense, network.to_image)
    averaged = [prefix for prefix in found if AVERAGED.search(prefix)]
    if not found:
        raise InputError(
            f"{stored.file} has no generator as {layout.source} has it (no {network.dense} beside {network.to_image});"
            f" its names begin with {_beginnings(stored.names())}: choose another --layout, or another file."
        )
    return _only(averaged if len(averaged) == 1 else found, stored, "generator")


def discriminator_prefix(layout: Layout, stored: Stored) -> str | None:
    """Returns the prefix of the discriminator's names, or None where the file has no discriminator.

    Raises:
      InputError: there are several that may be meant.
    """
    network = layout.discriminator
    found = _prefixes(layout, stored, network.dense, network.embedding)
    if not found:
        return None
    of_its_own_file = [prefix for prefix in found if prefix.startswith(layout.joined)]
    live = [prefix for prefix in found if not AVERAGED.search(prefix)]
    return _only(next((some for some in (of_its_own_file, live) if len(some) == 1), found), stored, "discriminator")


def left_out(stored: Stored, prefixes: Iterable[str]) -> list[str]:
    """Returns the names that belong to neither network, such as those of an optimiser."""
    return [name for name in stored.names() if not name.startswith(tuple(prefixes))]


def _prefixes(layout: Layout, stored: Stored, first: str, second: str) -> list[str]:
    """Returns the prefixes that both layers have; those of the first alone where only one network has such a layer."""
    dot = "/" if layout.tensorflow else "."
    found = []
    for layer in (first, second):
        pattern = re.compile(rf"(.*[./])?{re.escape(layer + dot)}")
        found.append({match[1] or "" for match in map(pattern.match, stored.names()) if match})
    shared = layout.generator.dense == layout.discriminator.dense
    return sorted(found[0] & found[1] or (set() if shared else found[0]))


def _only(found: list[str], stored: Stored, network: str) -> str:
    if len(found) > 1:
        raise InputError(
            f"{stored.file} has {len(found)} networks that may be the {network} ({', '.join(found)}): save the one that"
            " is meant in a file of its own."
        )
    return found[0]


def _beginnings(names: list[str]) -> str:
    """Returns the beginnings of names up to their first dot, which are the keys of a nested dictionary."""
    keys = list(dict.fromkeys(re.split(r"(?<=[./])", name)[0] for name in names))
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
