"""Where arrays lie: the mesh, the shardings of state and batches. The only file that says PartitionSpec."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA_AXIS, FSDP_AXIS = "data", "fsdp"
SMALLEST_SHARDED = 2**12  # numbers; spreading smaller arrays would save nothing


def make_mesh(devices: Sequence[jax.Device] | None = None, fsdp: int = 1) -> Mesh:
    """A mesh over the given devices, by default all of them in all processes.

    Args:
      devices: neighbours in the list are neighbours in groups of `fsdp`.
      fsdp: over how many devices each group spreads the state; 1: a mesh of one axis, the whole state on every device.
    """
    devices = jax.devices() if devices is None else devices
    shape, names = ((-1,), (DATA_AXIS,)) if fsdp == 1 else ((-1, fsdp), (DATA_AXIS, FSDP_AXIS))
    # Automatic axis types: the compiler places the intermediate arrays, the models say nothing.
    return Mesh(np.asarray(devices).reshape(shape), names, axis_types=(AxisType.Auto,) * len(names))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """For arrays [S, B, ...]: S updates, of which each has its B images spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(None, mesh.axis_names))


def image_sharding(mesh: Mesh) -> NamedSharding:
    """For arrays [B, ...] with B spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def state_shardings(mesh: Mesh, state: Any) -> Any:
    """Where a run's state lies: whole on every device, or with an fsdp axis each large array spread over that.

    Spread is the longest dimension that the axis divides, the last of several such: the outputs of most kernels.
    """
    size = mesh.shape.get(FSDP_AXIS, 1)

    def sharding(array: Any) -> NamedSharding:
        fitting = [axis for axis, length in enumerate(array.shape) if length % size == 0]
        if size == 1 or not fitting or array.size < SMALLEST_SHARDED:
            return replicated(mesh)
        longest = max(fitting, key=lambda axis: (array.shape[axis], axis))
        return NamedSharding(mesh, PartitionSpec(*(None,) * longest, FSDP_AXIS))

    return jax.tree.map(sharding, state)


def shard_batch(mesh: Mesh, arrays: Any) -> Any:
    """Inside a compiled function: a tree of arrays [B, ...] with B spread over the devices."""
    return jax.lax.with_sharding_constraint(arrays, image_sharding(mesh))


def replicate(mesh: Mesh, arrays: Any) -> Any:
    """Inside a compiled function: a tree of arrays, whole on every device."""
    return jax.lax.with_sharding_constraint(arrays, replicated(mesh))


def put_global(sharding: NamedSharding, whole: Any) -> Any:
    """A tree of numpy arrays that every process has as one tree of global arrays."""
    return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, sharding, lambda index: x[index]), whole)


def to_global(sharding: NamedSharding, local: Any) -> Any:
    """A tree of this process's numpy slices as one tree of global arrays."""
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), local)
