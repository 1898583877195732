"""The programs' front: flags, configs by name, errors in one sentence, and which messages of libraries are shown."""

import asyncio
import importlib.util
import logging
import pickle
import shutil
import subprocess
import sys
import zipfile

import pytest
from absl import logging as absl_logging
from conftest import ROOT

from sagan_jax import __version__, cli, main
from sagan_jax.config import config_names, default_config, flat_fields, load_config
from sagan_jax.errors import BAD_INPUT, InputError
from sagan_jax.overrides import set_fields

ORBAX = importlib.util.find_spec("orbax").submodule_search_locations[0] + "/checkpoint/made_up.py"


def test_an_error_names_field_value_and_remedy():
    error = InputError("is unknown", field="data.split", value="trane", remedy="choose from test, train")
    assert str(error) == "data.split = 'trane' is unknown: choose from test, train."
    assert str(error.renamed("--split")) == "--split=trane is unknown: choose from test, train."
    assert str(InputError("is unknown", field="train.stepz", remedy="did you mean train.steps?")) == (
        "train.stepz is unknown: did you mean train.steps?"
    )
    assert str(InputError(", but it has 3", field="classes", value=2)) == "classes = 2, but it has 3."
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(pickle.loads(pickle.dumps(InputError("is missing", field="--out")))) == "--out is missing."


def test_a_sentence_without_a_field_has_nothing_to_rename():
    error = InputError("there is no file a.npz: give the path of one.")
    assert str(error) == "there is no file a.npz: give the path of one."
    assert error.renamed("--weights") is error


def test_configs_have_names_and_paths():
    assert config_names() == sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
    by_path = load_config(str(ROOT / "configs" / "digits.py"))
    assert flat_fields(load_config("digits")) == flat_fields(by_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digts", "config = 'digts' is unknown: choose from cifar10, .*digits, .* or give the path of a .py file."),
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


def test_a_misspelt_config_flag_is_named(quiet, capsys):
    assert main.main(["--confg=digits"]) == BAD_INPUT
    assert "confg" in capsys.readouterr().err
    assert main.main([]) == BAD_INPUT
    assert capsys.readouterr().err.startswith("error: --config is missing: choose from cifar10, ")


@pytest.fixture
def quiet(monkeypatch):
    """The libraries as programs have them; afterwards as before."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    filters = {name: list(logging.getLogger(name).filters) for name in ("absl", "asyncio")}
    cli.quiet_libraries()
    yield
    for name, before in filters.items():
        logging.getLogger(name).filters[:] = before


@pytest.mark.parametrize("workdir", [None, "elsewhere"])
def test_a_run_is_named_after_its_config(quiet, monkeypatch, workdir):
    started = []
    monkeypatch.setattr("sagan_jax.training.loop.train_and_evaluate", lambda *given: started.append(given))
    for config in ("digits", str(ROOT / "configs" / "digits.py")):
        flags = [f"--config={config}", "--config.train.steps=5", *([f"--workdir={workdir}"] if workdir else [])]
        assert main.main(flags) == 0
    assert [(config.train.steps, folder) for config, folder in started] == [(5, workdir or "runs/digits")] * 2


def test_programs_are_listed_with_what_they_do(capsys):
    assert cli.main([]) == 0
    listed = capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        cli.main(["--help"])
    assert left.value.code == 0
    assert capsys.readouterr().out == listed
    lines = listed.partition("  PROGRAM\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(cli.PROGRAMS)
    assert lines[0].split(maxsplit=1)[1] == "Trains a SAGAN."


def test_help_of_training_names_every_field(capsys):
    with pytest.raises(SystemExit) as left:
        main.main(["--config=digits", "--help"])
    assert left.value.code == 0
    listed = capsys.readouterr().out
    for field, value in flat_fields(default_config()).items():
        assert f"--config.{field}={value!r}\n" in listed


def test_every_program_is_one_of_them():
    runnable = [path.stem for path in (ROOT / "sagan_jax").glob("*.py") if "__main__" in path.read_text()]
    assert sorted(runnable) == sorted(cli.PROGRAMS.values())


def test_version_and_unknown_programs(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"sagan_jax {__version__}\n"
    with pytest.raises(SystemExit) as left:
        cli.main(["trane"])
    assert left.value.code == BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith("error: argument PROGRAM: invalid choice: 'trane' (choose from ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("started", ["sagan-jax", "python -m sagan_jax"])
def test_programs_are_called_as_they_were_started(monkeypatch, capsys, started):
    monkeypatch.setattr(sys, "argv", [f"/usr/bin/{started}"])
    with pytest.raises(SystemExit) as left:
        cli.main(["report"])
    assert left.value.code == BAD_INPUT
    separator = " " if started == "sagan-jax" else "."
    wanted = f"error: the following arguments are required: --workdir; see {started}{separator}report --help\n"
    assert capsys.readouterr().err == wanted


def test_help_needs_no_jax_and_importing_changes_no_logging():
    program = (
        "import contextlib, logging, sys\n"
        "from sagan_jax import cli, config\n"
        "for arguments in ([], ['train', '--help'], ['prepare', '--help']):\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        cli.main(arguments)\n"
        "assert 'jax' not in sys.modules\n"
        "assert sys.unraisablehook is sys.__unraisablehook__\n"
        "assert not logging.getLogger('absl').filters\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)


def log_from(file, error=None):
    """A warning through absl, as if a line of that file had logged it."""
    code = "from absl import logging\ntry:\n    if error: raise error\nfinally:\n    logging.warning('found %s', 'it')"
    try:
        exec(compile(code, file, "exec"), {"error": error})
    except OSError as raised:
        return raised
    return None


def test_what_orbax_logs_is_dropped_and_nothing_else(quiet, caplog):
    log_from(ORBAX)
    assert not caplog.records
    log_from("/somewhere/else.py")
    logging.getLogger("jax._src.xla_bridge").warning("CUDA backend failed to initialize")
    assert [record.getMessage() for record in caplog.records] == [
        "found it",
        "CUDA backend failed to initialize",
    ]


def test_orbax_can_be_heard(quiet, caplog, monkeypatch):
    monkeypatch.setattr(cli.absl_logging, "get_verbosity", lambda: 0)
    log_from(ORBAX)
    assert [record.getMessage() for record in caplog.records] == ["found it"]


def test_futures_of_a_failed_save_are_dropped_and_other_ones_shown(quiet, caplog):
    of_native_code = ValueError("RESOURCE_EXHAUSTED")
    of_orbax = log_from(ORBAX, OSError(28, "No space left on device"))
    caplog.clear()
    try:
        raise ValueError("ours")
    except ValueError as error:
        of_others = error
    loop = asyncio.new_event_loop()
    for error in (of_native_code, of_orbax, of_others):
        loop.call_exception_handler({"message": "Future exception was never retrieved", "exception": error})
    loop.close()
    assert [record.exc_info[1] for record in caplog.records] == [of_others]


def test_only_tensorstores_threads_are_not_heard(quiet, capsys):
    loop = asyncio.new_event_loop()
    loop.close()

    class Given:
        exc_type, err_msg, object = RuntimeError, None, None

    try:
        loop.call_soon_threadsafe(print)
    except RuntimeError as error:
        Given.exc_value, Given.exc_traceback = error, error.__traceback__.tb_next  # as native code calls it
    sys.unraisablehook(Given)
    assert capsys.readouterr().err == ""

    class Fragile:
        def __del__(self):
            loop.call_soon_threadsafe(print)

    Fragile()
    error = capsys.readouterr().err
    assert "Exception ignored in" in error
    assert "Event loop is closed" in error


@pytest.mark.slow
def test_an_installed_wheel_knows_the_configs(tmp_path):
    for name in ("sagan_jax", "configs"):
        shutil.copytree(ROOT / name, tmp_path / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "source")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", f"--wheel-dir={tmp_path}", "."]
    built = subprocess.run(command, cwd=tmp_path / "source", capture_output=True, text=True)
    if "setuptools" in built.stderr and "No matching distribution" in built.stderr:
        pytest.skip("setuptools cannot be fetched")
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    modules = {path.relative_to(ROOT).with_suffix("").as_posix() for path in (ROOT / "sagan_jax").rglob("*.py")}
    found = (tmp_path / "installed").rglob("*.py")
    installed = {path.relative_to(tmp_path / "installed").with_suffix("").as_posix() for path in found}
    assert installed == modules | {f"sagan_jax/configs/{name}" for name in config_names()}
    program = "from sagan_jax.config import config_names, load_config; [load_config(name) for name in config_names()]"
    command = [sys.executable, "-c", f"{program}; print(len(config_names()))"]
    environment = {"PYTHONPATH": str(tmp_path / "installed")}
    shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert int(shown.stdout) == len(config_names())
