"""Configs by name and path."""

import pytest
from absl import logging as absl_logging
from places import ROOT

from sagan_jax import main
from sagan_jax.config import config_names, flat_fields, load_config
from sagan_jax.errors import BAD_INPUT, InputError


def test_configs_have_names_and_paths():
    assert config_names() == sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
    by_path = load_config(str(ROOT / "configs" / "digits.py"))
    assert flat_fields(load_config("digits")) == flat_fields(by_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digts", "config = 'digts' is unknown: choose from biggan128, .*digits, .* or give the path of a .py file."),
        (
            "configs/nothing.py",
            "nothing.py' cannot be read .No such file or directory.: choose from .*configs/digits.py",
        ),
        ("tests/data.py", "cannot be read"),
    ],
)
def test_an_unknown_config_is_answered_with_the_names(name, message):
    with pytest.raises(InputError, match=message):
        load_config(name)


OWN = "from sagan_jax.config import default_config\n"


CONFIG_FILES = {
    "unfinished": ("x = (", r"line 1, SyntaxError: '\(' was never closed"),
    "no function": ("x = 1", r"has no get_config\(\)"),
    "no function but a number": ("get_config = 1", r"has no get_config\(\)"),
    "raises": ("def get_config():\n    return 1 / 0", "line 2, ZeroDivisionError: division by zero"),
    "raises in a library": (
        "import json\n\ndef get_config():\n    return json.loads('{')", "line 4, JSONDecodeError"
    ),
    "imports what is missing": ("import nowhere_at_all", "line 1, ModuleNotFoundError: No module named"),
    "ends the program": ("import sys\nsys.exit(3)", "line 2, SystemExit: 3"),
    "returns a dict": ("def get_config():\n    return {'seed': 1}", "returns dict from .* no ConfigDict"),
    "returns nothing": ("def get_config():\n    pass", "returns NoneType from"),
    "lacks a field": (OWN + "def get_config():\n    c = default_config()\n    del c.seed\n    return c", "lacks seed"),
    "another type": (
        OWN + "def get_config():\n    c = default_config().copy_and_resolve_references()\n    del c.seed\n"
        "    c.seed = 'x'\n    return c", "sets seed to str 'x': it must be int"
    ),
    "another field": (
        OWN + "def get_config():\n    c = default_config()\n    c.train.stepz = 3\n    return c",
        "sets train.stepz, which is unknown: sagan_jax/config.py lists",
    ),
    "an earlier name": (
        OWN + "def get_config():\n    c = default_config()\n    c.model.generator.residual = (8,)\n    return c",
        "sets model.generator.residual, which has another name now: set model.generator.local_block",
    ),
    "another project": (
        "from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict({'lr': 1})",
        "sets lr, which is unknown: it seems to belong to another project",
    ),
    "no text": ("\0", "ValueError: source code string cannot contain null bytes|SyntaxError"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIG_FILES)
def test_a_file_that_is_no_config(tmp_path, name):
    text, message = CONFIG_FILES[name]
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InputError, match=rf"config = '.*mine.py' .*{message}") as raised:
        load_config(str(tmp_path / "mine.py"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("verbosity", [None, 0])
def test_the_traceback_of_a_config_is_shown_where_it_is_wanted(quiet, tmp_path, capsys, verbosity):
    (tmp_path / "mine.py").write_text("def get_config():\n    return 1 / 0")
    before = absl_logging.get_verbosity()
    try:
        flags = [] if verbosity is None else [f"--verbosity={verbosity}"]
        assert main.main([f"--config={tmp_path / 'mine.py'}", *flags]) == BAD_INPUT
    finally:
        absl_logging.set_verbosity(before)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: --config=")
    assert (len(lines) > 1) == (verbosity == 0)
