"""What the benchmarks have in common: a config of configs/, its compiled step, random images on the devices."""

import ast
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sagan_jax.config import load_config
from sagan_jax.data.batch import Batch
from sagan_jax.runtime.sharding import batch_sharding, make_mesh
from sagan_jax.training.creation import abstract_state, fresh_state
from sagan_jax.training.dispatch import StepsFunction, compile_steps
from sagan_jax.training.state import TrainState
from sagan_jax.training.step_config import TrainStepConfig, build_step_config

ROOT = Path(__file__).parents[1]


def changed_config(name: str, changes: Sequence[str] = ()) -> ConfigDict:
    """Returns the config of a name, with changes such as "train.batch_size=8"."""
    config = load_config(name)
    for change in changes:
        field, _, value = change.partition("=")
        try:
            config.update_from_flattened_dict({field: ast.literal_eval(value)})
        except (ValueError, SyntaxError):
            config.update_from_flattened_dict({field: value})
    return config


@dataclasses.dataclass
class Experiment:
    """A config on some devices.

    Attributes:
      config: its `model.num_classes` is known.
      mesh: the devices.
    """

    config: ConfigDict
    mesh: Mesh

    @functools.cached_property
    def step_config(self) -> TrainStepConfig:
        """Returns what the step is made of."""
        return build_step_config(self.config)

    @property
    def images_per_step(self) -> int:
        """Returns the number of real images of one step."""
        return self.config.train.batch_size * self.config.train.discriminator_updates

    def fresh_state(self) -> TrainState:
        """Returns a fresh state on the devices."""
        return fresh_state(self.step_config, self.mesh, jax.random.key(0))

    def abstract_state(self) -> TrainState:
        """Returns the state's shapes and shardings."""
        return abstract_state(self.step_config, self.mesh)

    def take_steps(self) -> StepsFunction:
        """Makes the function of the training loop anew, so that nothing is compiled yet."""
        return compile_steps(self.step_config, self.mesh, self.config.data.resolution)

    def random_inputs(self) -> tuple[Any, ...]:
        """Returns uint8 images and labels for one call, on the devices."""
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (*self._shape, *self._image), np.uint8)
        labels = random.integers(0, max(1, self.config.model.num_classes), self._shape, np.int32)
        batch = jax.device_put(Batch(images, labels), batch_sharding(self.mesh))
        return (batch,) * self.config.train.steps_per_call

    def abstract_inputs(self) -> tuple[Any, ...]:
        """Returns the shapes and dtypes of `random_inputs`."""
        images = jax.ShapeDtypeStruct((*self._shape, *self._image), np.uint8)
        return (Batch(images, jax.ShapeDtypeStruct(self._shape, np.int32)),) * self.config.train.steps_per_call

    @property
    def _shape(self) -> tuple[int, int]:
        return self.config.train.discriminator_updates, self.config.train.batch_size

    @property
    def _image(self) -> tuple[int, int, int]:
        return self.config.data.resolution, self.config.data.resolution, 3


def open_experiment(name: str, changes: Sequence[str] = (), devices: int | None = None) -> Experiment:
    """Opens the experiment of configs/NAME.py on the first so many devices, by default on all."""
    config = changed_config(name, changes)
    return Experiment(config, make_mesh(jax.devices()[:devices], config.mesh.fsdp))
