"""CIFAR-10 at 32 px with narrow networks: what two CPU cores can learn within minutes.

Source: the shapes of configs/cifar10.py at an eighth of the width; one D update per step with two learning rates.
Data: python -m sagan_jax.prepare --source=tfds:cifar10 --out=data/cifar10 --resolution=32 (or from a folder or zips).
Command: python -m sagan_jax.main --config=configs/cifar10_small.py
Hardware: 2 CPU cores, 0.2 s a step (one core).
Result: FD-resnet56_cifar10 8.9 after 2,364 steps, 8 minutes of one core (docs/results.md); 4,000: not yet measured.
"""

from ml_collections import ConfigDict

from sagan_jax.config import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.data.update(source="prepared:data/cifar10", resolution=32, flip=True)
    config.model.update(num_classes=10, init="orthogonal")
    config.model.generator.update(channels=32, multipliers=(2, 2, 1, 1), attention=(16,))
    config.model.discriminator.update(channels=32, multipliers=(1, 2, 2, 2), attention=(16,), final_resolution=8)
    config.train.update(steps=4000, batch_size=32, ema_start_step=200)
    config.optimizer.generator.learning_rate = 4e-4
    config.optimizer.discriminator.learning_rate = 1.6e-3
    config.log.pictures_every_steps = 1000
    config.checkpoint.update(every_steps=1000, keep_every_steps=1000)
    return config
