"""Fields that cannot work are named with their value and a remedy."""

import math

import pytest
from tiny import tiny_config

from sagan_jax.config import default_config, flat_fields
from sagan_jax.errors import InputError
from sagan_jax.training.ranges import RANGES, check_ranges
from sagan_jax.training.validation import validate_config

WRONG = {
    "train.batch_size=12": "not divisible by 8 devices times 1 accumulation steps = 8: .* such as 16",
    "train.accumulation_steps=4": "16 is not divisible by 8 devices times 4 accumulation steps = 32: .* such as 32",
    "sampling.batch_size=9": "sampling.batch_size = 9 is not divisible by the 8 devices",
    "train.steps=0": "train.steps = 0 is out of range: it must be at least 1 and at most 99,999,999",
    "train.ema_decay=1.0": "train.ema_decay = 1.0 is out of range: it must be at least 0 and less than 1",
    "optimizer.generator.learning_rate=0.0": "optimizer.generator.learning_rate = 0.0 .* greater than 0",
    "seed=-1": "seed = -1 is out of range: it must be at least 0 and at most 4,294,967,295",
    "model.num_classes=-2": "model.num_classes = -2 is out of range",
    "model.init='zeros'": "model.init = 'zeros' is unknown: choose one of xavier_uniform, orthogonal",
    "model.compute_dtype='float16'": "model.compute_dtype = 'float16' is unknown: choose one of float32, bfloat16",
    "data.residency='gpu'": "data.residency = 'gpu' is unknown: choose from auto, device, host",
    "data.class_sampling='even'": "data.class_sampling = 'even' is unknown: choose from uniform, empirical",
    "data.resident_gib=-1.0": "data.resident_gib = -1.0 is out of range",
    "data.resolution=48": "data.resolution = 48 is impossible",
    "model.attention='four'": "model.attention = 'four' is unknown: choose one of pooled, unpooled, multi-head",
    "model.blocks='deep'": "model.blocks = 'deep' is unknown: choose one of residual, bottleneck",
    "train.augmentation_target=0.6": "train.augmentation_target = 0.6 has nothing to adapt: set train.augmentations",
    "train.augmentations='bgc'": "train.augmentation_probability = 1.0 changes nearly every image, .* to at most 0.8",
    "train.top_k=0.01": "train.top_k = 0.01 leaves less than one of the 16 images of a piece",
}


def changed(change):
    config = tiny_config()
    field, _, value = change.partition("=")
    config.update_from_flattened_dict({field: eval(value)})
    return config


def adaptive(**fields):
    config = tiny_config()
    config.train.update(augmentations="bgc", augmentation_target=0.6, **fields)
    return config


def test_adaptive_augmentation_needs_a_loss_that_calls_images_real_and_no_other_probability():
    assert validate_config(adaptive()) is None
    for loss in ("relativistic", "wasserstein"):
        with pytest.raises(InputError, match="train.augmentation_target = 0.6 needs to know which images D calls real"):
            validate_config(adaptive(loss=loss))
    with pytest.raises(InputError, match="so does train.augmentation_probability = 0.5: leave one of them out"):
        validate_config(adaptive(augmentation_probability=0.5))


def test_tiny_config_is_valid():
    assert validate_config(tiny_config()) is None


@pytest.mark.parametrize("change", WRONG)
def test_wrong_fields_are_refused(change):
    with pytest.raises(InputError, match=WRONG[change]) as error:
        validate_config(changed(change))
    assert "\n" not in str(error.value)


def test_every_number_has_a_range():
    fields = flat_fields(default_config())
    assert {name for name, value in fields.items() if type(value) in (int, float, tuple)} == set(RANGES)


FAR = {
    int: (10**20, -(10**20)),
    tuple: ((10**20,), (-1,)),
    float: (1e300, -1e300, math.inf, -math.inf, math.nan),
}


@pytest.mark.parametrize("field", RANGES)
def test_no_number_is_without_an_end(field):
    """Each is refused by its name, before anything is asked for that large."""
    for value in FAR[type(flat_fields(default_config())[field])]:
        config = tiny_config()
        config.update_from_flattened_dict({field: value})
        with pytest.raises(InputError, match=rf"^{field} = .* is out of range: it must be "):
            check_ranges(config)


def test_widths_have_an_end_as_well():
    config = tiny_config()
    config.model.generator.channels = 4096
    config.model.generator.multipliers = (1, 1024)
    with pytest.raises(InputError, match=r"channels = 4096 with multipliers up to 1024 gives layers of 4,194,304"):
        check_ranges(config)
