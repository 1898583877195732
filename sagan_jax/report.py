"""Makes one HTML page of a run: scores with their protocol, curves, samples, nearest real images, attention.

python -m sagan_jax.report --workdir=RUN [--out=FILE.html]
"""

import argparse
import sys
from pathlib import Path

from sagan_jax.errors import InputError
from sagan_jax.reporting.page import report_page
from sagan_jax.runtime.storage import write_whole


def main(arguments: list[str] | None = None) -> int:
    """Writes the page; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sagan_jax.report", description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--out", metavar="FILE", help="where the page goes (RUN/report.html)")
    flags = parser.parse_args(arguments)
    workdir = Path(flags.workdir).expanduser()
    out = Path(flags.out).expanduser() if flags.out else workdir / "report.html"
    try:
        write_whole(out, report_page(workdir).encode())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        reason = error.strerror or error
        print(f"error: {error.filename} cannot be used ({reason}): give another path.", file=sys.stderr)
        return 2
    print(f"open {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
