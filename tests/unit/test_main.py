"""The flags of training."""

import pytest
from places import ROOT

from sagan_jax import main
from sagan_jax.config import default_config, flat_fields
from sagan_jax.errors import BAD_INPUT


def test_a_misspelt_config_flag_is_named(quiet, capsys):
    assert main.main(["--confg=digits"]) == BAD_INPUT
    assert "confg" in capsys.readouterr().err
    assert main.main([]) == BAD_INPUT
    assert capsys.readouterr().err.startswith("error: --config is missing: choose from biggan128, ")


@pytest.mark.parametrize("workdir", [None, "elsewhere"])
def test_a_run_is_named_after_its_config(quiet, monkeypatch, workdir):
    started = []
    monkeypatch.setattr("sagan_jax.training.loop.train_and_evaluate", lambda *given: started.append(given))
    for config in ("digits", str(ROOT / "configs" / "digits.py")):
        flags = [f"--config={config}", "--config.train.steps=5", *([f"--workdir={workdir}"] if workdir else [])]
        assert main.main(flags) == 0
    assert [(config.train.steps, folder) for config, folder in started] == [(5, workdir or "runs/digits")] * 2


def test_help_of_training_names_every_field(capsys):
    with pytest.raises(SystemExit) as left:
        main.main(["--config=digits", "--help"])
    assert left.value.code == 0
    listed = capsys.readouterr().out
    for field, value in flat_fields(default_config()).items():
        assert f"--config.{field}={value!r}\n" in listed
