"""Makes one HTML page of a run: scores with their protocol, curves, samples, nearest real images, attention.

python -m sagan_jax.report --workdir=RUN [--out=FILE.html]
"""

from etils import epath

from sagan_jax.cli import program_parser, run, start
from sagan_jax.errors import os_errors_as_input_errors
from sagan_jax.reporting.page import report_page
from sagan_jax.runtime.storage import write_atomic


def main(arguments: list[str] | None = None) -> int:
    """Writes the page; returns the exit status."""
    parser = program_parser("report", __doc__)
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--out", metavar="FILE", help="where the page goes (RUN/report.html)")
    flags = parser.parse_args(arguments)
    workdir = epath.Path(flags.workdir).expanduser()
    out = epath.Path(flags.out).expanduser() if flags.out else workdir / "report.html"
    return run(lambda: write_report(workdir, out))


@os_errors_as_input_errors()
def write_report(workdir: epath.Path, out: epath.Path) -> None:
    """Writes the page and prints its path."""
    write_atomic(out, report_page(workdir).encode())
    print(f"open {out}")


if __name__ == "__main__":
    start(main)
