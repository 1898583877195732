"""Checks of a config that need neither data nor compilation."""

import jax
from ml_collections import ConfigDict

from sagan_jax.config import default_config, flat_fields
from sagan_jax.data.residency import RESIDENCES
from sagan_jax.errors import InputError
from sagan_jax.renamed import CONFIG_FIELDS
from sagan_jax.training.divergence import CHOICES as ON_NAN
from sagan_jax.training.evaluation import check_evaluation
from sagan_jax.training.ranges import check_ranges
from sagan_jax.training.step_config import build_step_config

CHOICES = {
    "data.class_sampling": ("uniform", "empirical"),
    "data.real_class_sampling": ("empirical", "uniform"),
    "data.residency": RESIDENCES,
    "faults.on_nan": ON_NAN,
}
# Fields, or groups of them, that no weight depends on but by rounding. What source, split and keys name is compared
# by itself: contents, or what else identifies it.
FREE = (
    *("log", "checkpoint", "eval", "sampling", "faults", "mesh"),
    *("data.source", "data.split", "data.image_key", "data.label_key", "data.data_dir", "data.cache_dir"),
    *("data.residency", "data.resident_gib"),
    *("data.read_threads", "data.prefetch_steps", "model.rematerialize", "train.steps_per_call"),
)


def validate_config(config: ConfigDict) -> None:
    """Raises InputError at the first field that cannot work, naming it, its value and what would be right."""
    _check_fields(config)
    check_ranges(config)
    _check_choices(config)
    build_step_config(config)
    check_evaluation(config)
    _check_divisibility(config, jax.device_count())


def free_fields(config: ConfigDict) -> tuple[str, ...]:
    """Returns the fields, or groups of them, that may change when a run is continued."""
    schedules = (config.optimizer.generator.schedule, config.optimizer.discriminator.schedule)
    # A learning rate that decays does so over train.steps.
    return (*FREE, "train.steps") if schedules == ("constant", "constant") else FREE


def _check_fields(config: ConfigDict) -> None:
    known, given = set(flat_fields(default_config())), set(flat_fields(config))
    for field in sorted(given - known):
        if field in CONFIG_FIELDS:
            raise InputError("has another name", field=field, remedy=f"set {CONFIG_FIELDS[field]} instead")
        raise InputError("is unknown", field=field, remedy="sagan_jax/config.py lists all fields")
    for field in sorted(known - given):
        raise InputError("is missing", field=field, remedy="start from sagan_jax.config.default_config()")


def _check_choices(config: ConfigDict) -> None:
    values = flat_fields(config)
    for field, choices in CHOICES.items():
        if values[field] not in choices:
            remedy = f"choose from {', '.join(choices)}"
            raise InputError("is unknown", field=field, value=values[field], remedy=remedy)


def _check_divisibility(config: ConfigDict, devices: int) -> None:
    if devices % config.mesh.fsdp:
        wrong = f"does not divide the {devices} devices"
        raise InputError(wrong, field="mesh.fsdp", value=config.mesh.fsdp, remedy="use 1, or a divisor")
    batch, pieces = config.train.batch_size, config.train.accumulation_steps
    if batch % (devices * pieces):
        unit = devices * pieces
        near = max(unit, round(batch / unit) * unit)
        wrong = f"is not divisible by {devices} devices times {pieces} accumulation steps = {unit}"
        remedy = f"use a multiple of it, such as {near}"
        raise InputError(wrong, field="train.batch_size", value=batch, remedy=remedy)
    if config.train.top_k * (batch // pieces) < 1:
        wrong = f"leaves less than one of the {batch // pieces} images of a piece"
        remedy = "use a larger one, or fewer train.accumulation_steps"
        raise InputError(wrong, field="train.top_k", value=config.train.top_k, remedy=remedy)
    if config.sampling.batch_size % devices:
        wrong, remedy = f"is not divisible by the {devices} devices", f"use a multiple of {devices}"
        raise InputError(wrong, field="sampling.batch_size", value=config.sampling.batch_size, remedy=remedy)
