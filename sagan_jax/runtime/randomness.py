"""Named random streams: every key is a function of (seed, name, step), so no random state is saved."""

import zlib

import jax


def stream_key(seed: int, name: str) -> jax.Array:
    """Returns the key of a named stream, such as "train" or "sheet"."""
    return fold_in_name(jax.random.key(seed), name)


def fold_in_name(key: jax.Array, name: str) -> jax.Array:
    """Returns a key that depends on `key` and on the name; other names give independent keys."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
