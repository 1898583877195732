"""Your own images at 32 px with narrow networks, in float32: for a machine without a GPU, and to try things out.

Source: the networks and learning rates of configs/cifar10_small.py, with mirrored images.
Data: python -m sagan_jax.prepare --source=/path/to/images --out=data/mine32 --resolution=32
Command: python -m sagan_jax.main --config=configs/folder32.py --config.data.source=prepared:data/mine32
Hardware: 2 CPU cores, 0.36 s a step while other programs ran.
Expected time and result: not yet measured.
"""

from ml_collections import ConfigDict

from sagan_jax.config import load_config


def get_config() -> ConfigDict:
    config = load_config("cifar10_small")
    config.data.source = "prepared:data/mine32"
    config.model.num_classes = -1  # as many as there are
    return config
