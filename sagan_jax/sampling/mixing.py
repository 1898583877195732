"""Images between two classes: the gains and biases of the conditional batch norm, mixed."""

from typing import Any

import jax

from sagan_jax.sampling.sampler import Tree


def mixed_classes(variables: Tree, first: int, second: int, fraction: float) -> Tree:
    """The generator's variables in which label 0 stands for a mixture of two classes.

    Args:
      variables: of a class-conditional generator.
      first, second: labels.
      fraction: of the second class; 0 is the first alone.
    """

    def mixed(path: Any, value: jax.Array) -> jax.Array:
        is_table = path[-1].key in ("scale", "bias") and value.ndim == 2  # [classes, C]
        return value.at[0].set((1 - fraction) * value[first] + fraction * value[second]) if is_table else value

    return variables | {"params": jax.tree_util.tree_map_with_path(mixed, variables["params"])}
