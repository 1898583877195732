"""ImageNet at 128 px with the hyper-parameters of the authors' code, attention at 32x32.

Source: brain-research/self-attention-gan (train.py, generator.py, discriminator.py); paper: FID 18.65, IS 52.52.
Command: python -m sagan_jax.main --config=configs/imagenet128.py
Hardware: one large GPU or a TPU; on a CPU add --config.model.compute_dtype=float32.
Expected time and result: not yet measured; planned on an H100: 12.6 GiB, 67 ms a step (docs/performance.md).
"""

from ml_collections import ConfigDict

from sagan_jax.config import default_config


def get_config() -> ConfigDict:
    config = default_config()  # its defaults are the authors' values
    config.model.compute_dtype = "bfloat16"
    return config
