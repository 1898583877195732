"""The smallest networks that have every kind of layer, and a compiled step of theirs."""

import dataclasses
import functools

import jax
import numpy as np

from sagan_jax.config import load_config
from sagan_jax.data.digits import Digits
from sagan_jax.data.pipeline import Pipeline
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import batch_sharding, make_mesh, put_global, state_shardings, to_global
from sagan_jax.training.creation import fresh_state
from sagan_jax.training.dispatch import compile_steps
from sagan_jax.training.step_config import build_step_config


def tiny_config():
    """Digits with the narrowest networks that still have every kind of layer."""
    config = load_config("digits")
    config.model.latent_size = 8
    config.model.generator.channels = 2
    config.model.discriminator.channels = 2
    config.train.update(batch_size=16, steps=6, ema_start_step=2)
    config.sampling.update(batch_size=16, standing_batches=2)
    config.log.update(every_steps=2, pictures_every_steps=100, sheet_columns=2)
    config.eval.features = ""
    return config


@dataclasses.dataclass
class Trainer:
    """A compiled step on some of the virtual devices."""

    config: object
    devices: int = 1
    first: object = None  # the state of step 0, on the host

    def __post_init__(self):
        self.step_config = build_step_config(self.config)
        self.mesh = make_mesh(jax.devices()[: self.devices], self.config.mesh.fsdp)
        self.step = compile_steps(self.step_config, self.mesh, self.config.data.resolution)
        self.pipeline = Pipeline(self.config, Digits(self.config.data.resolution))

    def fresh_state(self):
        if self.first is None:
            self.first = jax.device_get(
                fresh_state(self.step_config, self.mesh, stream_key(self.config.seed, "initial weights"))
            )
        return jax.tree.map(put_global, state_shardings(self.mesh, self.first), jax.tree.map(np.copy, self.first))

    def batch(self, step):
        return to_global(batch_sharding(self.mesh), self.pipeline.batch_for_step(step))

    def run(self, state, steps):
        key, metrics = stream_key(self.config.seed, "train"), None
        for _ in range(steps):
            state, metrics = self.step(state, None, (self.batch(int(state.step)),), key)
        return state, metrics


def normal(seed, *shape):
    """Numbers from the standard normal distribution."""
    return np.random.default_rng(seed).normal(size=shape)


def applied(module, variables, *arguments, **options):
    """What `module.apply` returns, compiled as one program: operation by operation, each is compiled by itself."""
    return jax.jit(functools.partial(module.apply, **options))(variables, *arguments)


def initialised(module, *arguments, **options):
    """What `module.init` returns, likewise."""
    return jax.jit(functools.partial(module.init, **options))(*arguments)
