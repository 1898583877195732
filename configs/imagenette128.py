"""Imagenette, ten classes of ImageNet, at 128 px: real photographs at a size that one GPU learns in hours.

Source: the authors' ImageNet setting with half the width and mirrored images, for 9,469 images.
Data: python -m sagan_jax.prepare --source=IMAGENETTE/train --out=data/imagenette128 --resolution=128
Command: python -m sagan_jax.main --config=configs/imagenette128.py
Hardware: one GPU.
Expected time and result: not yet measured.
"""

from ml_collections import ConfigDict

from sagan_jax.config import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.data.update(source="prepared:data/imagenette128", flip=True)
    config.model.update(num_classes=10, compute_dtype="bfloat16")
    config.model.generator.channels = 32
    config.model.discriminator.channels = 32
    config.train.update(steps=100_000, batch_size=64)
    return config
