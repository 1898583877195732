"""scikit-learn's handwritten digits at 16 px: the demo of `make train`.

Command: python -m sagan_jax.main --config=configs/digits.py
Hardware: 2 CPU cores.
"""

from ml_collections import ConfigDict

from sagan_jax.config import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.data.source = "digits"
    config.data.resolution = 16
    config.model.num_classes = 10
    config.model.generator.channels = 8
    config.model.generator.attention = (8,)
    config.model.discriminator.channels = 8
    config.model.discriminator.attention = (8,)
    config.train.steps = 2500
    config.train.batch_size = 64
    config.train.ema_start_step = 200
    config.optimizer.generator.learning_rate = 4e-4
    config.optimizer.discriminator.learning_rate = 1.6e-3
    config.log.pictures_every_steps = 500
    config.checkpoint.every_steps = 500
    config.evaluation.metrics = ("class_agreement", "class_diversity")
    return config
