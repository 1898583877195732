"""ImageNet at 64 px, attention at 32x32: a quarter of the pixels of imagenet128 and the same optimisers.

Source: widths and attention as in StudioGAN's 64 px SAGAN; learning rates of the authors' code.
Command: python -m sagan_jax.main --config=configs/imagenet64.py
Hardware: one GPU.
Expected time and result: not yet measured.
"""

from ml_collections import ConfigDict

from sagan_jax.config import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.data.resolution = 64
    config.model.compute_dtype = "bfloat16"
    config.train.steps = 500_000
    return config
