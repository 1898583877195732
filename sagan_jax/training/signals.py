"""What a run measures of its discriminator beside the steps: logits of images that it learns from, and of others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sagan_jax.data.batch import to_signed_float
from sagan_jax.data.holdout import Split
from sagan_jax.data.source import ImageSource
from sagan_jax.models.discriminator import Discriminator
from sagan_jax.runtime.programs import kept
from sagan_jax.runtime.sharding import image_sharding, put_global, replicated
from sagan_jax.training.state import TrainState
from sagan_jax.training.step_config import TrainStepConfig
from sagan_jax.training.update import Metrics

LOOKED_AT = 256  # images of each kind
TRAINING, HELD_OUT, GENERATED = "training", "held_out", "generated"


class Signals:
    """Measures the logits of images that do not change, as they are: neither mirrored nor augmented.

    Args:
      step_config: of the run.
      split: its data; without random access, no real images are looked at.
      mesh: the devices.
      conditional: whether the networks know classes.
    """

    def __init__(self, step_config: TrainStepConfig, split: Split, mesh: Mesh, *, conditional: bool):
        self._boundary = step_config.loss.boundary
        self._logits = compile_logits(step_config.networks.discriminator)
        self._mesh, self._conditional = mesh, conditional
        sources = {TRAINING: split.training, HELD_OUT: split.held_out}
        self._real = {
            kind: self._place(*examples(source))
            for kind, source in sources.items()
            if isinstance(source, ImageSource) and split.held_out is not None
        }

    def accuracies(self, state: TrainState) -> Metrics:
        """Returns which fraction of images the discriminator calls real, without waiting for the devices.

        `d_real_accuracy_training` of images that it is trained on and `d_real_accuracy_held_out` of others; empty where
        none are held out.
        """
        return {
            f"d_real_accuracy_{kind}": jnp.mean(logits > self._boundary)
            for kind, logits in self._of_real(state).items()
        }

    def logits(self, state: TrainState, fake_images: np.ndarray, fake_labels: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the logits of real images of each kind, and of generated ones [N, H, W, 3] uint8, [N] each."""
        fakes = self._logits(state.discriminator.variables, *self._place(fake_images, fake_labels))
        found = jax.device_get({GENERATED: fakes} | self._of_real(state))
        return {f"logits/{kind}": logits for kind, logits in found.items()}

    def _of_real(self, state: TrainState) -> dict[str, jax.Array]:
        return {kind: self._logits(state.discriminator.variables, *real) for kind, real in self._real.items()}

    def _place(self, images: np.ndarray, labels: np.ndarray) -> Any:
        """Spreads images [N, H, W, 3] uint8 and labels [N] over the devices, where they can be divided."""
        labels = labels if self._conditional else np.zeros_like(labels)
        even = len(labels) % self._mesh.size == 0
        return put_global(image_sharding(self._mesh) if even else replicated(self._mesh), (images, labels))


@kept
def compile_logits(discriminator: Discriminator) -> Any:
    """Compiles (variables, images [N, H, W, 3] uint8, labels [N]) -> logits [N]."""
    return jax.jit(lambda variables, images, labels: discriminator.apply(variables, to_signed_float(images), labels))


def examples(source: ImageSource) -> tuple[np.ndarray, np.ndarray]:
    """Loads `LOOKED_AT` images of a data set, or all of a smaller one, spread evenly over it, with their labels."""
    count = min(LOOKED_AT, len(source))
    images, labels = source.load(np.linspace(0, len(source) - 1, count).round().astype(int))
    return images, labels.astype(np.int32)
