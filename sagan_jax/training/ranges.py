"""The range of every number in a config: both ends are refused with a sentence before any memory is asked for."""

from typing import NamedTuple

from ml_collections import ConfigDict

from sagan_jax.config import flat_fields
from sagan_jax.errors import InputError

MOST_STEPS = 99_999_999  # steps have eight digits in names of files, and their counters 31 bits
MOST_IMAGES = 1 << 17  # of an update, or of a call
NEVER = MOST_STEPS


class Range(NamedTuple):
    """Numbers from `least` to `most`; without `least` itself if `above`, without `most` itself if `below`."""

    least: float
    most: float
    above: bool = False
    below: bool = False

    def has(self, number: float) -> bool:
        """Returns whether a number is in the range; NaN never is."""
        enough = number > self.least if self.above else number >= self.least
        return enough and (number < self.most if self.below else number <= self.most)

    def __str__(self) -> str:
        least, most = (f"{number:,}" if number < 1e15 else f"{number:g}" for number in (self.least, self.most))
        begin = f"greater than {least}" if self.above else f"at least {least}"
        return f"{begin} and {'less than' if self.below else 'at most'} {most}"


FRACTION = Range(0, 1, below=True)
EPSILON = Range(0, 1, above=True)
RANGES = {
    "seed": Range(0, 2**32 - 1),
    "data.resolution": Range(16, 512),
    "data.holdout": Range(0, 100_000_000),
    "data.resident_gib": Range(0, 1_000_000),
    "data.read_threads": Range(1, 1024),
    "data.prefetch_steps": Range(1, 1024),
    "model.num_classes": Range(-1, 2**20),
    "model.latent_size": Range(1, 2**16),
    "model.spectral_epsilon": EPSILON,
    "model.batch_norm_epsilon": EPSILON,
    "model.batch_norm_momentum": FRACTION,
    "model.generator.channels": Range(1, 4096),
    "model.generator.multipliers": Range(1, 1024),
    "model.generator.attention": Range(4, 512),
    "model.generator.local_block": Range(4, 512),
    "model.discriminator.channels": Range(1, 4096),
    "model.discriminator.multipliers": Range(1, 1024),
    "model.discriminator.attention": Range(4, 512),
    "model.discriminator.local_block": Range(4, 512),
    "model.discriminator.final_resolution": Range(4, 256),
    "train.steps": Range(1, MOST_STEPS),
    "train.batch_size": Range(1, MOST_IMAGES),
    "train.discriminator_updates": Range(1, 20),  # times MOST_STEPS, they still have 31 bits
    "train.steps_per_call": Range(1, 10_000),
    "train.accumulation_steps": Range(1, MOST_IMAGES),
    "train.augmentation_probability": Range(0, 1),
    "train.augmentation_target": FRACTION,
    "train.augmentation_images": Range(1, 1_000_000_000),
    "train.top_k": Range(0, 1, above=True),
    "train.top_k_steps": Range(1, NEVER),
    "train.ema_decay": FRACTION,
    "train.ema_start_step": Range(0, NEVER),
    "mesh.fsdp": Range(1, 2**16),
    "sampling.batch_size": Range(1, MOST_IMAGES),
    "sampling.standing_batches": Range(1, 100_000),
    "log.every_steps": Range(1, NEVER),
    "log.pictures_every_steps": Range(1, NEVER),
    "log.sheet_classes": Range(1, 1000),
    "log.sheet_columns": Range(1, 100),
    "eval.every_steps": Range(0, NEVER),
    "eval.num_samples": Range(1, 10_000_000),
    "eval.num_real": Range(0, 100_000_000),
    "faults.most_rollbacks": Range(0, 1000),
    "faults.largest_loss": Range(0, 1e30, above=True),
    "faults.join_seconds": Range(0, 86_400, above=True),
    "faults.hang_seconds": Range(0, 10_000_000),
    "checkpoint.every_steps": Range(1, NEVER),
    "checkpoint.keep": Range(1, 10_000),
    "checkpoint.keep_every_steps": Range(1, NEVER),
} | {
    f"optimizer.{network}.{field}": allowed
    for network in ("generator", "discriminator")
    for field, allowed in {
        "learning_rate": Range(0, 10, above=True),
        "beta1": FRACTION,
        "beta2": FRACTION,
        "epsilon": EPSILON,
        "warmup_updates": Range(0, NEVER),
    }.items()
}
MOST_WIDTH = 2**16  # channels of a feature map


def check_ranges(config: ConfigDict) -> None:
    """Raises InputError at the first number that is out of its range, or no number."""
    values = flat_fields(config)
    for field, allowed in RANGES.items():
        value = values[field]
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float) or not allowed.has(number):
                raise InputError("is out of range", field=field, value=value, remedy=f"it must be {allowed}")
    for network in ("generator", "discriminator"):
        settings = config.model[network]
        width = settings.channels * max(settings.multipliers, default=16)
        if width > MOST_WIDTH:
            wrong = f"with multipliers up to {max(settings.multipliers, default=16)} gives layers of {width:,} channels"
            remedy = f"at most {MOST_WIDTH:,} are possible"
            raise InputError(wrong, field=f"model.{network}.channels", value=settings.channels, remedy=remedy)
