"""Your own images at 32 px with narrow networks, in float32: for a machine without a GPU, and to try things out.

Source: the networks and learning rates of configs/cifar10_small.py, with mirrored images.
Data: python -m sagan_jax.prepare --source=/path/to/images --out=data/mine32 --resolution=32
Command: python -m sagan_jax.main --config=configs/folder32.py --config.data.source=prepared:data/mine32
Hardware: 2 CPU cores, 0.36 s a step while other programs ran.
Expected time and result: not yet measured.
"""

from ml_collections import ConfigDict

from sagan_jax.config import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.data.update(source="prepared:data/mine32", resolution=32, flip=True)
    config.model.update(num_classes=-1, init="orthogonal")
    config.model.generator.update(channels=32, multipliers=(2, 2, 1, 1), attention=(16,))
    config.model.discriminator.update(channels=32, multipliers=(1, 2, 2, 2), attention=(16,), final_resolution=8)
    config.train.update(steps=4000, batch_size=32, ema_start_step=200)
    config.optimizer.generator.learning_rate = 4e-4
    config.optimizer.discriminator.learning_rate = 1.6e-3
    config.log.pictures_every_steps = 1000
    config.checkpoint.update(every_steps=1000, keep_every_steps=1000)
    return config
