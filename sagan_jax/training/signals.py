"""What a run measures of its discriminator beside the steps: logits of images that it learns from, and of others."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sagan_jax.data.batch import to_signed_float
from sagan_jax.data.holdout import Split
from sagan_jax.data.source import ImageSource
from sagan_jax.models.discriminator import Discriminator
from sagan_jax.runtime.programs import kept
from sagan_jax.runtime.sharding import image_sharding, put_global, replicated
from sagan_jax.training.state import TrainState, Tree
from sagan_jax.training.step_config import TrainStepConfig

LOOKED_AT = 256  # images of each kind
TRAINING, HELD_OUT, GENERATED = "training", "held_out", "generated"


class Signals:
    """Measures the logits of images that do not change, as they are: neither mirrored nor augmented.

    Args:
      step_config: of the run.
      split: its data; real images are looked at where some are held out.
      mesh: the devices.
      conditional: whether the networks know classes.
    """

    def __init__(self, step_config: TrainStepConfig, split: Split, mesh: Mesh, *, conditional: bool):
        self._boundary = step_config.loss.boundary
        self._logits = compile_logits(step_config.networks.discriminator, mesh)
        self._mesh, self._conditional = mesh, conditional
        self._real = {}
        if split.held_out is not None:
            for kind, source in ((TRAINING, split.training), (HELD_OUT, split.held_out)):
                assert isinstance(source, ImageSource)  # or nothing could have been held out
                self._real[kind] = self._place(*examples(source))

    def accuracies(self, state: TrainState) -> dict[str, float]:
        """Returns which fraction of images the discriminator calls real.

        `d_real_accuracy_training` of images that it is trained on and `d_real_accuracy_held_out` of others; empty where
        none are held out, or the loss has no boundary.
        """
        boundary = self._boundary
        if boundary is None:
            return {}
        logits = {kind: self._logits_of(state, real) for kind, real in self._real.items()}
        return {f"d_real_accuracy_{kind}": float(np.mean(found > boundary)) for kind, found in logits.items()}

    def logits(self, state: TrainState, fake_images: np.ndarray, fake_labels: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the logits of real images of each kind, and of generated ones [N, H, W, 3] uint8, [N] each."""
        kinds = self._real | {GENERATED: self._place(fake_images, fake_labels)}
        return {f"logits/{kind}": self._logits_of(state, images) for kind, images in kinds.items()}

    def _logits_of(self, state: TrainState, images: Any) -> np.ndarray:
        """Waits for the devices: one program that communicates between them at a time, see docs/design.md."""
        return np.asarray(jax.device_get(self._logits(state.discriminator.variables, *images)))

    def _place(self, images: np.ndarray, labels: np.ndarray) -> Any:
        """Spreads images [N, H, W, 3] uint8 and labels [N] over the devices, where they can be divided."""
        labels = labels if self._conditional else np.zeros_like(labels)
        even = len(labels) % self._mesh.size == 0
        return put_global(image_sharding(self._mesh) if even else replicated(self._mesh), (images, labels))


@kept
def compile_logits(discriminator: Discriminator, mesh: Mesh) -> Any:
    """Compiles (variables, images [N, H, W, 3] uint8, labels [N]) -> logits [N], whole on every device."""

    def logits(variables: Tree, images: jax.Array, labels: jax.Array) -> Any:
        return discriminator.apply(variables, to_signed_float(images), labels)

    return jax.jit(logits, out_shardings=replicated(mesh))


def examples(source: ImageSource) -> tuple[np.ndarray, np.ndarray]:
    """Loads `LOOKED_AT` images of a data set, or all of a smaller one, spread evenly over it, with their labels."""
    count = min(LOOKED_AT, len(source))
    images, labels = source.load(np.linspace(0, len(source) - 1, count).round().astype(int))
    return images, labels.astype(np.int32)
