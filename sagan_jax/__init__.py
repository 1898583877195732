"""sagan_jax: training of self-attention GANs (Zhang et al. 2018) in JAX and Flax.

docs/library.md shows the package in use. Names are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagan_jax.config import default_config as default_config
    from sagan_jax.config import load_config as load_config
    from sagan_jax.data.arrays import ArrayImages as ArrayImages
    from sagan_jax.data.source import ImageSource as ImageSource
    from sagan_jax.errors import InputError as InputError
    from sagan_jax.loading import load as load
    from sagan_jax.models.attention import SelfAttention as SelfAttention
    from sagan_jax.models.discriminator import Discriminator as Discriminator
    from sagan_jax.models.discriminator import build_discriminator as build_discriminator
    from sagan_jax.models.generator import Generator as Generator
    from sagan_jax.models.generator import build_generator as build_generator
    from sagan_jax.models.layers import LayerConfig as LayerConfig
    from sagan_jax.models.plain import plain_network as plain_network
    from sagan_jax.models.plain import plain_params as plain_params
    from sagan_jax.objectives.losses import AdversarialLoss as AdversarialLoss
    from sagan_jax.objectives.penalty import Penalty as Penalty
    from sagan_jax.objectives.penalty import PenaltyInputs as PenaltyInputs
    from sagan_jax.objectives.penalty import RunningStatistic as RunningStatistic
    from sagan_jax.runtime.writer import MetricWriter as MetricWriter
    from sagan_jax.sampling.attention import AttentionMaps as AttentionMaps
    from sagan_jax.sampling.model import Model as Model
    from sagan_jax.training.loop import train_and_evaluate as train_and_evaluate
    from sagan_jax.training.networks import Networks as Networks

__version__ = "0.1.0"

_MODULES = {  # of the public names
    "config": ("default_config", "load_config"),
    "data.arrays": ("ArrayImages",),
    "data.source": ("ImageSource",),
    "errors": ("InputError",),
    "loading": ("load",),
    "models.attention": ("SelfAttention",),
    "models.discriminator": ("Discriminator", "build_discriminator"),
    "models.generator": ("Generator", "build_generator"),
    "models.layers": ("LayerConfig",),
    "models.plain": ("plain_network", "plain_params"),
    "objectives.losses": ("AdversarialLoss",),
    "objectives.penalty": ("Penalty", "PenaltyInputs", "RunningStatistic"),
    "runtime.writer": ("MetricWriter",),
    "sampling.attention": ("AttentionMaps",),
    "sampling.model": ("Model",),
    "training.loop": ("train_and_evaluate",),
    "training.networks": ("Networks",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sagan_jax' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"sagan_jax.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
