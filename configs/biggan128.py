"""BigGAN at 128 px (Brock et al. 2018): 70.4 and 88.0 million parameters, shared embedding, hierarchical latents.

Source: arXiv:1809.11096, section 3 and appendices B and C: batch 2048, two D updates, orthogonal weights and penalty.
Command: python -m sagan_jax.main --config=configs/biggan128.py (docs/training.md has the fields of BigGAN-deep)
Hardware: a TPU v3 pod in the paper, for 24 to 48 hours; on less, raise train.accumulation_steps.
Expected time and result: not yet measured.
"""

from ml_collections import ConfigDict

from sagan_jax.config import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.model.update(latent_size=120, init="orthogonal", compute_dtype="bfloat16")
    config.model.generator.update(channels=96, attention=(64,), conditioning="hierarchical latents")
    config.model.discriminator.update(channels=96, attention=(64,))
    config.train.update(batch_size=2048, discriminator_updates=2, steps=140_000)
    config.train.update(penalties="orthogonality:1e-4", ema_decay=0.9999, ema_start_step=20_000)
    config.optimizer.generator.learning_rate = 5e-5
    config.optimizer.discriminator.learning_rate = 2e-4
    return config
