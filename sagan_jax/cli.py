"""What the command-line programs share: how they begin and end; and `sagan-jax`, which starts them by name."""

import argparse
import ast
import contextlib
import faulthandler
import functools
import importlib
import importlib.util
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from absl import logging as absl_logging

from sagan_jax import __version__
from sagan_jax.errors import (
    BAD_INPUT,
    DIVERGED,
    FAILED,
    INTERRUPTED,
    RUN_AGAIN,
    DivergedError,
    FailedError,
    InputError,
    StoppedError,
    one_line,
)

PROGRAMS = {  # and the modules of this package that hold them
    "train": "main",
    "prepare": "prepare",
    "evaluate": "evaluate",
    "sample": "sample",
    "explore": "explore",
    "export": "export",
    "report": "report",
}
MOST_PROCESSES = 100_000
ON_DEVICES = threading.Event()  # set where this process may compile
STOPPED_AT_ONCE = "\nstopped at once: run the same command again to go on"
WRITERS = ("orbax", "tensorstore", "clu")  # write a run's files; what fails there is raised, and the run reports it


def main(arguments: list[str] | None = None) -> int:
    """Runs `sagan-jax PROGRAM FLAGS`; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in PROGRAMS:
        return importlib.import_module(f"sagan_jax.{PROGRAMS[arguments[0]]}").main(arguments[1:])
    parser = _Parser(prog="sagan-jax", description="Self-attention GANs, one program for each task.")
    parser.add_argument("--version", action="version", version=f"sagan_jax {__version__}")
    programs = parser.add_subparsers(title="programs", metavar="PROGRAM")
    for name, module in PROGRAMS.items():
        docstring = ast.get_docstring(ast.parse(Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")))
        programs.add_parser(name, help=_summary(docstring).partition(":")[0].rstrip(".") + ".")
    parser.parse_args(arguments)
    parser.print_help()
    return 0


def program_parser(program: str, docstring: str | None) -> argparse.ArgumentParser:
    """Returns an empty parser of flags, whose errors are one sentence and exit status 2.

    Args:
      program: one of PROGRAMS.
      docstring: of its module; the first line describes it.
    """
    started_by_name = Path(sys.argv[0]).stem == "sagan-jax"
    prog = f"sagan-jax {program}" if started_by_name else f"python -m sagan_jax.{PROGRAMS[program]}"
    return _Parser(prog=prog, description=_summary(docstring), allow_abbrev=False)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"error: {one_line(message)}; see {self.prog} --help", file=sys.stderr)
        sys.exit(BAD_INPUT)


def _summary(docstring: str | None) -> str:
    return (docstring or "").partition("\n")[0]


def add_process_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that are the arguments of `runtime.processes.join_processes`."""
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="of the first of several processes")
    parser.add_argument("--processes", type=whole_number(1, MOST_PROCESSES), metavar="N", help="how many there are")
    parser.add_argument(
        "--process", type=whole_number(0, MOST_PROCESSES), metavar="I", help="which one this is, from 0 on"
    )


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Returns the argparse type of whole numbers in a range, both ends included."""

    def parse(text: str) -> int:
        if not text.isdecimal() or len(text) > 15 or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]} is not a number from {least:,} to {most:,}")
        return int(text)

    return parse


def positive_number(text: str) -> float:
    """Parses a number greater than 0; an argparse type."""
    with contextlib.suppress(ValueError):
        if float(text) > 0:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text[:40]} is not a number greater than 0")


def run(program: Callable[[], None]) -> int:
    """Calls a program; returns 0, or another of the statuses in errors.py after one sentence on standard error."""
    quiet_libraries()
    try:
        program()
    except InputError as error:
        return _ended(f"error: {error}", BAD_INPUT)
    except DivergedError as error:
        return _ended(f"error: {error}", DIVERGED)
    except FailedError as error:
        return _ended(f"error: {error}", FAILED)
    except StoppedError as error:
        return _ended(str(error), RUN_AGAIN)
    except KeyboardInterrupt:
        return _ended(STOPPED_AT_ONCE, INTERRUPTED)
    return 0


def start(program: Callable[[], int] | None = None) -> NoReturn:
    """Runs a whole program, by default `main`, as this process, and ends the process with its exit status.

    Where the output goes nowhere any more (a closed pipe or terminal), the program ends as by Ctrl-C; what a stream
    cannot write, for lack of space or of characters, is dropped or escaped, and does not end the program.
    """
    from sagan_jax.runtime.native_messages import leave_out_alarms
    from sagan_jax.runtime.output import flush_output, make_output_lasting, open_descriptors

    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.default_int_handler(number, frame)

    open_descriptors()
    make_output_lasting(error=leave_out_alarms())
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is usual:  # nohup has the second ignored
            signal.signal(number, interrupt)
    try:
        status = (program or main)()
    except KeyboardInterrupt:  # while the program was not yet, or no longer, in `run`
        status = _ended(STOPPED_AT_ONCE, INTERRUPTED)
    except Exception:
        traceback.print_exc()
        status = FAILED
    flush_output()
    if (status or interrupted) and ON_DEVICES.is_set():
        # JAX goes on compiling, in threads, for a caller that was interrupted; a usual exit would take away the memory
        # that these threads use, and end in a segmentation fault.
        os._exit(status)
    sys.exit(status)


def run_on_devices(program: Callable[[], None]) -> int:
    """Does what `run` does for a program that compiles: its compiled programs are kept, and it may be one of several.

    JAX is imported here, so that flags are parsed, and help is shown, without it.
    """
    from sagan_jax.runtime.compilation_cache import enable_compilation_cache
    from sagan_jax.runtime.jax_settings import hint_at_unused_accelerators, pin_settings
    from sagan_jax.runtime.processes import run_program

    ON_DEVICES.set()
    enable_compilation_cache()
    pin_settings()
    hint_at_unused_accelerators()
    if not faulthandler.is_enabled():
        faulthandler.enable()  # a crash in native code shows where each thread was
    return run_program(lambda: run(program))


def quiet_libraries() -> None:
    """Drops what WRITERS log, for the rest of the process; all else is shown, such as JAX's hint at an unused GPU."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(is_shown)
    # What it logs is raised as well.
    logging.getLogger("gcsfs").addFilter(lambda _: absl_logging.get_verbosity() >= absl_logging.INFO)
    sys.unraisablehook = show_unraisable
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # TensorFlow only reads and writes files, and would announce it


def is_shown(record: logging.LogRecord) -> bool:
    """Returns whether a log record is shown: at absl's verbosity 0 all, otherwise those that WRITERS do not cause."""
    if absl_logging.get_verbosity() >= absl_logging.INFO:
        return True
    error = record.exc_info[1] if record.exc_info else None
    if record.name == "asyncio" and error is not None and error.__traceback__ is None:
        return False  # set by native code: of TensorStore's writes, Orbax awaits only the first that fails
    frames = traceback.walk_tb(error.__traceback__ if error else None)
    files = [record.pathname, *(frame.f_code.co_filename for frame, _ in frames)]
    return not any(file.startswith(_folders_of_writers()) for file in files)


@functools.cache
def _folders_of_writers() -> tuple[str, ...]:
    specs = [importlib.util.find_spec(name) for name in WRITERS]
    return tuple(folder + os.sep for spec in specs if spec for folder in spec.submodule_search_locations or ())


def show_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Prints an exception that could not be raised, unless it is of a signal, or TensorStore's about a dropped save.

    A signal that comes while the garbage collector runs raises into its callbacks, which raise nothing; a run looks at
    its request to stop again after each call. TensorStore's threads find Orbax's event loop closed after a save that
    was given up. They call asyncio from native code: no other Python code is in the traceback.
    """
    if isinstance(unraisable.exc_value, StoppedError | KeyboardInterrupt):
        return
    begin = unraisable.exc_traceback
    called_by_native_code = begin is not None and begin.tb_frame.f_globals.get("__name__") == "asyncio.base_events"
    if not (called_by_native_code and str(unraisable.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(unraisable)


def _ended(text: str, status: int) -> int:
    if absl_logging.get_verbosity() >= absl_logging.INFO:
        traceback.print_exc()
    print(text, file=sys.stderr)
    return status
