"""Fields of a config on the command line."""

import pytest

from sagan_jax.config import load_config
from sagan_jax.errors import InputError
from sagan_jax.overrides import set_fields


def test_fields_are_set_on_the_command_line():
    config = load_config("digits")
    set_fields(config, ["--config.train.steps=7", "--config.model.generator.attention=8,16", "--config.seed", "3"])
    assert (config.train.steps, config.model.generator.attention, config.seed) == (7, (8, 16), 3)
    assert config.is_locked
    set_fields(config, ["--config.data.flip", "--config.model.generator.attention=()", "--config.train.ema_decay=.5"])
    assert (config.data.flip, config.model.generator.attention, config.train.ema_decay) == (True, (), 0.5)
    set_fields(config, ["--noconfig.data.flip", "--config.model.generator.multipliers=[4, 2, 1]"])
    assert (config.data.flip, config.model.generator.multipliers) == (False, (4, 2, 1))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.train.stepz=3", r"--config.train.stepz is unknown: did you mean --config.train.steps\?"),
        ("--config.model.generator.residual=8", "has another name: write --config.model.generator.local_block."),
        ("--config.train.steps=many", "train.steps"),
        *(
            (f"--config.model.generator.attention={value}", "cannot be used: give whole numbers with commas")
            for value in ("", "'8'", "(8,16", "8)", "((8,),)", "8,a", "8.0", "None", "[" * 3000, "-" * 3000)
        ),
        ("--config.=1", "--config. is unknown"),
        ("--config..seed=1", "--config..seed is unknown"),
        ("--config.model=1", "is a group of fields: set one of them, such as --config.model."),
        ("--config.seed=1.5", "--config.seed=1.5 cannot be used: give a whole number"),
        ("--config.seed=" + "9" * 5000, "--config.seed has 5,000 letters"),
        ("--config.seed", "--config.seed has no value"),
        ("--config.data.flip=maybe", "give true or false"),
        ("--noconfig.seed", "write --config.seed=VALUE"),
        ("--flagfile=/dev/zero", "--flagfile is unknown"),
        ("--confg=digits", "confg"),
        ("fast", "'fast' is not a flag: write --config=NAME"),
    ],
)
def test_a_wrong_argument_is_an_error(argument, message):
    with pytest.raises(InputError, match=message):
        set_fields(load_config("digits"), [argument])
