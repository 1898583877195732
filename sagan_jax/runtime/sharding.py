"""The mesh, and the shardings of state and batches over it. The only file that says PartitionSpec."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sagan_jax.runtime.jax_settings import check_devices

DATA_AXIS, FSDP_AXIS = "data", "fsdp"
SMALLEST_SHARDED = 2**12  # elements; sharding smaller arrays would save nothing


def make_mesh(devices: Sequence[jax.Device] | None = None, fsdp: int = 1) -> Mesh:
    """Makes a mesh over the given devices, by default over all devices of all processes.

    Args:
      devices: neighbours in the list are neighbours in groups of `fsdp`.
      fsdp: number of devices that the state is sharded over; 1: a mesh of one axis, with the state replicated.

    Raises:
      InputError: there are no devices.
    """
    if devices is None:
        check_devices()
    devices = jax.devices() if devices is None else devices
    shape, names = ((-1,), (DATA_AXIS,)) if fsdp == 1 else ((-1, fsdp), (DATA_AXIS, FSDP_AXIS))
    # Automatic axis types: the compiler shards intermediate arrays, so the models hold no shardings.
    return Mesh(np.asarray(devices).reshape(shape), names, axis_types=(AxisType.Auto,) * len(names))


def host_device() -> jax.Device | None:
    """Returns the CPU of this process, or None where JAX is not to use it, as with JAX_PLATFORMS=cuda."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays [S, B, ...] with the B images of each update spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(None, mesh.axis_names))


def image_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays [B, ...] with B spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def state_shardings(mesh: Mesh, state: Any) -> Any:
    """Returns the shardings of a state: replicated, or with an fsdp axis each large array sharded over that axis.

    The sharded dimension is the longest that the axis divides, the last of several: the outputs of most kernels.
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
    """Constrains a tree of arrays [B, ...] in a compiled function to have B spread over the devices."""
    return jax.lax.with_sharding_constraint(arrays, image_sharding(mesh))


def replicate(mesh: Mesh, arrays: Any) -> Any:
    """Constrains a tree of arrays in a compiled function to be whole on every device."""
    return jax.lax.with_sharding_constraint(arrays, replicated(mesh))


def put_global(sharding: NamedSharding, whole: Any) -> Any:
    """Makes global arrays of a tree of numpy arrays that every process has whole."""
    return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, sharding, lambda index: x[index]), whole)


def to_global(sharding: NamedSharding, local: Any) -> Any:
    """Makes global arrays of a tree of numpy arrays of which each process has its slice."""
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), local)
