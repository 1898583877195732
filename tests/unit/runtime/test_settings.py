"""Settings that a run is continued with."""

import pytest

from sagan_jax.config import default_config
from sagan_jax.errors import InputError
from sagan_jax.runtime.settings import check_settings, save_settings
from sagan_jax.training.validation import free_fields


def test_workdir_refuses_other_settings(tmp_path):
    settings = {"train": {"steps": 5, "loss": "hinge"}, "log": {"every_steps": 1}}
    check_settings(tmp_path, "config.json", settings, free=(), defaults={})
    save_settings(tmp_path, "config.json", settings)
    longer = {"train": {"steps": 9, "loss": "hinge"}, "log": {"every_steps": 3}}
    check_settings(tmp_path, "config.json", longer, free=("log", "train.steps"), defaults={})
    with pytest.raises(InputError, match="log.every_steps = 3, but the run .* was started with 1"):
        check_settings(tmp_path, "config.json", longer, free=("train.steps",), defaults={})
    for damaged in ('{"train"', "[]"):
        (tmp_path / "config.json").write_text(damaged)
        with pytest.raises(InputError, match="config.json is damaged"):
            check_settings(tmp_path, "config.json", settings, free=(), defaults={})


def test_steps_may_grow_only_where_the_learning_rate_does_not_decay_over_them():
    config = default_config()
    assert "train.steps" in free_fields(config)
    config.optimizer.discriminator.schedule = "cosine"
    assert "train.steps" not in free_fields(config)
