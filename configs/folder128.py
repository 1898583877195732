"""Your own images at 128 px: a folder or zip with one subfolder per class; any size, cropped to the centre square.

Source: the authors' ImageNet setting with a smaller batch, half the width and mirrored images, for smaller data sets.
Data: python -m sagan_jax.prepare --source=/path/to/images --out=data/mine --resolution=128
Command: python -m sagan_jax.main --config=configs/folder128.py --config.data.source=prepared:data/mine
Hardware: one GPU; without one, configs/folder32.py.
Expected time and result: not yet measured.
"""

from ml_collections import ConfigDict

from sagan_jax.config import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.data.update(source="prepared:data/mine", flip=True)
    config.model.update(num_classes=-1, compute_dtype="bfloat16")
    config.model.generator.channels = 32
    config.model.discriminator.channels = 32
    config.train.update(steps=100_000, batch_size=64)
    return config
