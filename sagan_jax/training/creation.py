"""Creates the state that a run begins with, on the host: the same on every kind and number of devices, in seconds."""

import functools
from typing import Any

import jax
from jax.sharding import Mesh

from sagan_jax.models.latent_prior import LatentPrior
from sagan_jax.objectives.penalty import RunningStatistic
from sagan_jax.runtime.programs import kept
from sagan_jax.runtime.sharding import host_device, put_global, state_shardings
from sagan_jax.training.networks import Networks
from sagan_jax.training.optimizers import Optimizers
from sagan_jax.training.state import TrainState, create_state
from sagan_jax.training.step_config import TrainStepConfig

# A program that runs once, for a second, is not worth half a minute of compilation.
RUN_ONCE = {"xla_backend_optimization_level": 0}


def fresh_state(step_config: TrainStepConfig, mesh: Mesh, key: jax.Array) -> TrainState:
    """Creates the state of a key and lays it over the mesh."""
    host = _host(mesh)
    state = jax.device_get(_creation(step_config, host)(jax.device_put(key, host)))
    return jax.tree.map(put_global, state_shardings(mesh, state), state)


def abstract_state(step_config: TrainStepConfig, mesh: Mesh) -> TrainState:
    """Returns the shapes, dtypes and shardings of the state; nothing is computed."""
    state = _creation(step_config, _host(mesh)).eval_shape(jax.random.key(0))

    def with_sharding(x: jax.ShapeDtypeStruct, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    return jax.tree.map(with_sharding, state, state_shardings(mesh, state))


def _creation(step_config: TrainStepConfig, host: jax.Device) -> Any:
    """Returns `create_state` as a program of the key, which is traced once for its shapes and for the state."""
    parts = step_config.networks, step_config.optimizers, step_config.prior, step_config.running
    return _compiled_creation(*parts, host.platform)


@kept
def _compiled_creation(
    networks: Networks,
    optimizers: Optimizers,
    prior: LatentPrior,
    running: tuple[RunningStatistic, ...],
    platform: str,
) -> Any:
    create = functools.partial(create_state, networks, optimizers, prior, running)
    return jax.jit(create, compiler_options=RUN_ONCE if platform == "cpu" else None)


def _host(mesh: Mesh) -> jax.Device:
    """Returns the CPU, or where JAX is not to use it a device of the mesh."""
    return host_device() or mesh.local_devices[0]
