"""A run of the version before spectral norm moved into the layers is continued and opened, with the same results."""

import json
import zipfile

import numpy as np
import pytest
from places import ROOT
from tiny import tiny_config

import sagan_jax
from sagan_jax.errors import InputError

# Four steps with the narrowest networks, and the row of metrics that that version wrote after two more.
GOLDEN = ROOT / "tests" / "golden" / "run_of_version_before_0_1.zip"
ROUNDING = 1e-3  # after two steps of Adam, in another order of floating-point operations


@pytest.fixture
def earlier_run(tmp_path):
    with zipfile.ZipFile(GOLDEN) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def config_for(steps):
    config = tiny_config()
    config.model.generator.channels = config.model.discriminator.channels = 1
    config.train.steps = steps
    for network, rate in (("generator", 4e-4), ("discriminator", 1.6e-3)):
        config.optimizer[network].learning_rate = rate  # that version's, for the digits
    return config


def test_it_is_continued_with_the_same_results(earlier_run):
    expected = json.loads((earlier_run / "expected.json").read_text())
    config = config_for(6)
    config.log.every_steps = 1  # rows are of one step, as those of that version
    sagan_jax.train_and_evaluate(config, earlier_run)
    row = json.loads((earlier_run / "metrics.jsonl").read_text().splitlines()[-1])
    for name in expected.keys() - {"steps_per_s", "images_per_s", "data_wait"}:
        np.testing.assert_allclose(row[name], expected[name], rtol=ROUNDING, atol=ROUNDING, err_msg=name)


def test_it_is_opened_for_sampling(earlier_run):
    model = sagan_jax.load(earlier_run)
    assert model.sample().shape == (10, 16, 16, 3)
    assert model.card.step == 4


def test_a_changed_field_is_still_refused(earlier_run):
    config = config_for(6)
    config.model.generator.local_block = (16,)
    with pytest.raises(InputError, match=r"model.generator.local_block = \[16\], but the run in .* with \[\]"):
        sagan_jax.train_and_evaluate(config, earlier_run)
