"""Makes scenes with one model."""

import math

import jax
import numpy as np

from sagan_jax.exploring.cache import LRUCache
from sagan_jax.exploring.scene import NO_TRUNCATION, AttentionLayer, Choice, Scene
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.sampling.mixing import mixed_classes
from sagan_jax.sampling.model import Model
from sagan_jax.sampling.paths import slerp

MOST_KEPT = 256 * 2**20  # bytes: 7 scenes with attention at 64x64 in both networks, hundreds of smaller ones


class Stage:
    """Makes scenes with one model; those made before are kept."""

    def __init__(self, model: Model):
        self.model = model
        self._kept = LRUCache(MOST_KEPT)

    def latent(self, seed: int, truncation: float) -> np.ndarray:
        """The latent [1, Z] of the first image that `sagan_jax.sample` makes of a seed."""
        limit = math.inf if truncation >= NO_TRUNCATION else truncation
        return self.model.sampler.fixed_latents(1, stream_key(seed, "samples"), limit)

    def generated(self, choice: Choice) -> Scene:
        """The image of a choice."""
        return self._kept.get(choice, lambda: self._generated(choice))

    def discriminated(self, image: np.ndarray, label: int) -> Scene:
        """An image [H, W, 3] uint8 of the model's resolution as the discriminator sees it, taken for a class."""
        return self._kept.get((image.tobytes(), label), lambda: self._discriminate(image, label))

    def _generated(self, choice: Choice) -> Scene:
        latent = self.latent(choice.seed, choice.truncation)
        if choice.walk:
            latent = slerp(latent, self.latent(choice.other_seed, choice.truncation), choice.walk)
        variables, label = self.model.variables, choice.label
        if choice.mix:
            variables, label = mixed_classes(variables, label, choice.other_label, choice.mix), 0
        images, maps = self.model.sampler.attention(variables, latent, np.array([label], np.int32))
        layers = _layers("generator", maps, variables["params"])
        scored = self._discriminate(images[0], choice.label, choice.other_label, choice.mix)
        return Scene(images[0], layers + scored.layers, scored.logit)

    def _discriminate(self, image: np.ndarray, label: int, other_label: int = 0, mix: float = 0.0) -> Scene:
        """Taken for a mixture of two classes, in which the logit is linear; attention knows no class."""
        if self.model.discriminator is None:
            return Scene(image, (), None)
        logits, maps = self.model.discriminate(image[None], np.array([label], np.int32))
        logit = float(logits[0])
        if mix:
            others, _ = self.model.discriminate(image[None], np.array([other_label], np.int32))
            logit = (1 - mix) * logit + mix * float(others[0])
        return Scene(image, _layers("discriminator", maps, self.model.discriminator_variables["params"]), logit)


def _layers(network: str, maps: dict[str, np.ndarray], params: dict) -> tuple[AttentionLayer, ...]:
    layers = []
    for name, (weights,) in maps.items():
        gamma = float(jax.device_get(params[name]["gamma"]))
        most = max(2 / weights.shape[1], float(weights.max()))  # so that noise about an even look stays dark
        layers.append(AttentionLayer(network, round(weights.shape[0] ** 0.5), gamma, weights, most))
    return tuple(layers)
