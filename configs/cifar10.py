"""CIFAR-10 at 32 px with the usual ResNet pair, class-conditional.

Source: StudioGAN's and mmgeneration's CIFAR-10 SAGAN (published FID 9.43), plus an averaged generator.
Data: python -m sagan_jax.prepare --source=tfds:cifar10 --out=data/cifar10 --resolution=32 (or from a folder or zips).
Command: python -m sagan_jax.main --config=configs/cifar10.py
Hardware: one GPU.
Expected time and result: not yet measured.
"""

from ml_collections import ConfigDict

from sagan_jax.config import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.data.update(source="prepared:data/cifar10", resolution=32, flip=True)
    config.model.update(num_classes=10, init="orthogonal", compute_dtype="bfloat16")
    config.model.generator.update(channels=256, multipliers=(1, 1, 1, 1), attention=(16,))
    config.model.discriminator.update(channels=128, multipliers=(1, 1, 1, 1), attention=(16,), final_resolution=8)
    config.train.update(steps=100_000, batch_size=64, discriminator_updates=5, ema_start_step=1000)
    config.optimizer.generator.update(learning_rate=2e-4, beta1=0.5)
    config.optimizer.discriminator.update(learning_rate=2e-4, beta1=0.5)
    return config
