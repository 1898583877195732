"""Makes scenes with one model, of choices and of uploaded images, and keeps the latest."""

import collections
import math
import threading
from collections.abc import Callable, Hashable
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from sagan_jax.data.resize import square_rgb
from sagan_jax.errors import InputError
from sagan_jax.exploring.choice import NO_TRUNCATION, Choice
from sagan_jax.exploring.scene import Scene
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.sampling.attention_layer import AttentionLayer, scale_end
from sagan_jax.sampling.interpolation import mixed_classes, slerp
from sagan_jax.sampling.model import Model

CACHE_BYTES = 256 * 2**20  # 7 scenes with attention at 64x64 in both networks, hundreds of smaller ones
MAX_UPLOAD_BYTES = 10 * 2**20
MAX_UPLOAD_PIXELS = 50_000_000
UPLOAD_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")


class LRUCache:
    """Scenes by key, up to a number of bytes; drops those that were not asked for the longest.

    The newest scene always stays, however large it is: the next click asks for it.

    Args:
      max_bytes: of all scenes together.
    """

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes
        self._scenes: collections.OrderedDict[Hashable, Scene] = collections.OrderedDict()
        self._lock = threading.Lock()  # several threads serve visitors

    def get(self, key: Hashable, make: Callable[[], Scene]) -> Scene:
        """Returns the scene of a key, made by `make` where it is not kept."""
        with self._lock:
            if key in self._scenes:
                self._scenes.move_to_end(key)
                return self._scenes[key]
        scene = make()
        with self._lock:
            self._scenes[key] = scene
            while len(self._scenes) > 1 and sum(kept.nbytes for kept in self._scenes.values()) > self._max_bytes:
                self._scenes.popitem(last=False)
        return scene


class Stage:
    """Makes scenes with one model; those made before are kept."""

    def __init__(self, model: Model):
        self.model = model
        self._cache = LRUCache(CACHE_BYTES)

    def generated(self, choice: Choice) -> Scene:
        """Returns the scene of a generated image."""
        return self._cache.get(choice, lambda: self._generate(choice))

    def of_image(self, image: np.ndarray, label: int) -> Scene:
        """Returns the scene of any image [H, W, 3] uint8 of the model's resolution, with the discriminator only.

        The discriminator takes the image for one of the class `label`.
        """
        return self._cache.get((image.tobytes(), label), lambda: self._discriminate(image, label))

    def _generate(self, choice: Choice) -> Scene:
        latent = self._latent(choice.seed, choice.truncation)
        if choice.walk:
            latent = slerp(latent, self._latent(choice.other_seed, choice.truncation), choice.walk)
        variables, label = self.model.variables, choice.label
        if choice.mix:
            variables, label = mixed_classes(variables, label, choice.other_label, choice.mix), 0
        images, maps = self.model.sampler.attention(variables, latent, np.array([label], np.int32))
        layers = _attention_layers("generator", maps, variables["params"])
        scored = self._discriminate(images[0], choice.label, choice.other_label, choice.mix)
        return Scene(images[0], layers + scored.layers, scored.logit)

    def _latent(self, seed: int, truncation: float) -> np.ndarray:
        """Returns the latent [1, Z] of the first image that `sagan_jax.sample` makes of a seed."""
        limit = math.inf if truncation >= NO_TRUNCATION else truncation
        return self.model.sampler.fixed_latents(1, stream_key(seed, "samples"), limit)

    def _discriminate(self, image: np.ndarray, label: int, other_label: int = 0, mix: float = 0.0) -> Scene:
        """Scores an image as a mixture of two classes, in which the logit is linear; attention depends on no class."""
        if self.model.discriminator is None:
            return Scene(image, (), None)
        logits, maps = self.model.discriminate(image[None], np.array([label], np.int32))
        logit = float(logits[0])
        if mix:
            others, _ = self.model.discriminate(image[None], np.array([other_label], np.int32))
            logit = (1 - mix) * logit + mix * float(others[0])
        layers = _attention_layers("discriminator", maps, self.model.discriminator_variables["params"])
        return Scene(image, layers, logit)


def read_upload(path: str, resolution: int) -> np.ndarray:
    """Reads an uploaded image file and makes it square as `sagan_jax.prepare` does.

    Returns:
      [resolution, resolution, 3] uint8.

    Raises:
      InputError: the file is too large, or no image of UPLOAD_FORMATS.
    """
    name = Path(path).name
    if Path(path).stat().st_size > MAX_UPLOAD_BYTES:
        raise InputError(f"{name} has more than {MAX_UPLOAD_BYTES >> 20} MB: choose a smaller image.")
    try:
        with Image.open(path, formats=UPLOAD_FORMATS) as file:
            if file.width * file.height > MAX_UPLOAD_PIXELS:
                raise InputError(f"{name} has {file.width} x {file.height} pixels: choose a smaller image.")
            return square_rgb(file, resolution)
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        raise InputError(f"{name} is no image that can be read: choose a PNG, JPEG, WebP, BMP or GIF.") from error


def _attention_layers(network: str, maps: dict[str, np.ndarray], params: dict) -> tuple[AttentionLayer, ...]:
    layers = []
    for name, (weights,) in maps.items():
        gamma = float(jax.device_get(params[name]["gamma"]))
        layers.append(AttentionLayer(network, round(len(weights) ** 0.5), gamma, weights, scale_end(weights)))
    return tuple(layers)
