"""Where arrays lie: the mesh, the shardings of state and batches. The only file that says PartitionSpec."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA_AXIS = "data"


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A one-dimensional mesh over the given devices, by default all of them in all processes."""
    devices = jax.devices() if devices is None else devices
    # Automatic axis types: the compiler places the intermediate arrays, the models say nothing.
    return Mesh(np.asarray(devices), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """For arrays [S, B, ...]: S updates, of which each has its B images spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(None, DATA_AXIS))


def image_sharding(mesh: Mesh) -> NamedSharding:
    """For arrays [B, ...] with B spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def spread(mesh: Mesh, arrays: Any) -> Any:
    """Inside a compiled function: a tree of arrays [B, ...] with B spread over the devices."""
    return jax.lax.with_sharding_constraint(arrays, image_sharding(mesh))


def to_global(sharding: NamedSharding, local: Any) -> Any:
    """A tree of this process's numpy slices as one tree of global arrays."""
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), local)
