"""Makes one HTML page of a run: scores with their protocol, curves, samples, nearest real images, attention.

python -m sagan_jax.report --workdir=RUN [--out=FILE.html]
"""

from sagan_jax.cli import program_parser, run, start
from sagan_jax.errors import InputError, os_errors_as_input_errors
from sagan_jax.reporting.page import report_page
from sagan_jax.runtime.storage import write_atomic
from sagan_jax.runtime.user_paths import user_path

SUFFIXES = (".html", ".htm")


def main(arguments: list[str] | None = None) -> int:
    """Writes the page; returns the exit status."""
    parser = program_parser("report", __doc__)
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--out", metavar="FILE", help="where the page goes (RUN/report.html)")
    flags = parser.parse_args(arguments)
    return run(lambda: write_report(flags.workdir, flags.out or None))


@os_errors_as_input_errors()
def write_report(workdir: str, out: str | None) -> None:
    """Writes the page, by default into the folder of the run, and prints its path."""
    folder = user_path(workdir)
    file = user_path(out) if out else folder / "report.html"
    if file.suffix not in SUFFIXES or file.is_dir():  # a run has no such files, so none of it can be overwritten
        raise InputError("is no page", field="--out", value=out, remedy=f"end its name with {SUFFIXES[0]}")
    write_atomic(file, report_page(folder).encode())
    print(f"open {file}")


if __name__ == "__main__":
    start(main)
