"""Names the commands that install what is optional, for the Python that runs."""

import shlex
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def install_command(package: str) -> str:
    """Returns the command that installs a package: ".venv/bin/python -m pip install gcsfs".

    The pip that a shell finds by itself may belong to another Python.
    """
    return f"{shlex.quote(_shown(Path(sys.executable or 'python')))} -m pip install {package}"


def install_extra(extra: str) -> str:
    """Returns the command that installs an extra of this package, which comes from its folder and from no index."""
    if not (PROJECT / "setup.cfg").exists():  # installed without its folder
        return install_command(f"-e '.[{extra}]' in the project's folder")
    return install_command(f"-e '{_shown(PROJECT)}[{extra}]'")


def _shown(path: Path) -> str:
    """Returns a path from the folder that one is in, where it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (OSError, ValueError):  # the folder is gone, or elsewhere
        return str(path)
