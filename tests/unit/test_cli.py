"""How programs begin and what they log."""

import asyncio
import importlib.util
import logging
import subprocess
import sys

import pytest
from places import ROOT

from sagan_jax import __version__, cli
from sagan_jax.errors import BAD_INPUT

ORBAX = importlib.util.find_spec("orbax").submodule_search_locations[0] + "/checkpoint/made_up.py"


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
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


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
