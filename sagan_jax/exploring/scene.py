"""One image of the explorer with the attention that made it, and the attention of the one that judges it."""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import numpy as np

from sagan_jax.runtime.randomness import stream
from sagan_jax.sampling.mixing import mixed_classes
from sagan_jax.sampling.model import Model
from sagan_jax.sampling.paths import slerp

NO_TRUNCATION = 3.0  # of the page's slider; at most 3 numbers in 1,000 lie beyond it, and none are drawn again
KEPT = 64  # scenes


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a person has chosen; the page's permalink.

    Attributes:
      label, seed, truncation: of the image.
      other_seed, walk: on the way to this seed's latent, and how far.
      other_label, mix: mixed with this class, and how much of it.
    """

    label: int = 0
    seed: int = 0
    truncation: float = NO_TRUNCATION
    other_seed: int = 1
    walk: float = 0.0
    other_label: int = 0
    mix: float = 0.0


class Layer(NamedTuple):
    """An attention layer at work on one image.

    Attributes:
      network: "generator" or "discriminator".
      side: of its feature map.
      gamma: how much of what it finds is added.
      weights: [L, M] float32, rows sum to 1; L = side * side.
    """

    network: str
    side: int
    gamma: float
    weights: np.ndarray


class Scene(NamedTuple):
    """An image and its attention layers, in the order in which they work.

    Attributes:
      image: [H, W, 3] uint8.
      layers: of both networks.
      logit: how real the discriminator finds it, or None where there is none.
    """

    image: np.ndarray
    layers: tuple[Layer, ...]
    logit: float | None


class Stage:
    """Makes scenes with one model; those made before are kept."""

    def __init__(self, model: Model):
        self.model = model
        self.generated = functools.lru_cache(KEPT)(self._generated)

    def latent(self, seed: int, truncation: float) -> np.ndarray:
        """The latent [1, Z] of the first image that `sagan_jax.sample` makes of a seed."""
        limit = math.inf if truncation >= NO_TRUNCATION else truncation
        return self.model.sampler.fixed_latents(1, stream(seed, "samples"), limit)

    def _generated(self, choice: Choice) -> Scene:
        latent = self.latent(choice.seed, choice.truncation)
        if choice.walk:
            latent = slerp(latent, self.latent(choice.other_seed, choice.truncation), choice.walk)
        variables, label = self.model.variables, choice.label
        if choice.mix:
            variables, label = mixed_classes(variables, label, choice.other_label, choice.mix), 0
        images, maps = self.model.sampler.attention(variables, latent, np.array([label], np.int32))
        layers = _layers("generator", maps, variables["params"])
        judged = self.judged(images[0], choice.label)
        return Scene(images[0], layers + judged.layers, judged.logit)

    def judged(self, image: np.ndarray, label: int) -> Scene:
        """An image [H, W, 3] uint8 of the model's resolution as the discriminator sees it, taken for a class."""
        if self.model.discriminator is None:
            return Scene(image, (), None)
        logits, maps = self.model.judge_images(image[None], np.array([label], np.int32))
        return Scene(image, _layers("discriminator", maps, self.model.judge["params"]), float(logits[0]))


def _layers(network: str, maps: dict[str, np.ndarray], params: dict) -> tuple[Layer, ...]:
    layers = []
    for name, weights in maps.items():
        gamma = float(jax.device_get(params[name]["gamma"]))
        layers.append(Layer(network, round(weights.shape[1] ** 0.5), gamma, weights[0]))
    return tuple(layers)
