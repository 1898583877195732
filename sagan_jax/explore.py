"""Shows what each point of an image attends to, on a page.

python -m sagan_jax.explore --workdir=RUN | --model=DIR [--port=7860] [--host=127.0.0.1] [--share]

Needs the extra `explore`. docs/explore.md says what the page shows.
"""

import argparse
import os
import socket
from pathlib import PurePath

from sagan_jax.cli import program_parser, run_on_devices, start, whole_number
from sagan_jax.errors import InputError, os_errors_as_input_errors
from sagan_jax.extras import install_extra
from sagan_jax.model_flags import add_model_flags, open_named_model
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.user_paths import user_path

LOOPBACK = "127.0.0.1"


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Returns the flags; exits with status 2 and one sentence where they are wrong."""
    parser = program_parser("explore", __doc__)
    add_model_flags(parser)
    parser.add_argument("--port", type=whole_number(1, 2**16 - 1), default=7860, help="(7860)")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on; by default only this machine's own")
    parser.add_argument(
        "--share", action="store_true", help="also through a public address of Gradio's; off by default"
    )
    flags = parser.parse_args(arguments)
    if not flags.host.strip():
        parser.error(f"--host must not be empty: leave it out for {LOOPBACK}, or give 0.0.0.0 for all addresses")
    return flags


def main(arguments: list[str] | None = None) -> int:
    """Shows the page until Ctrl-C; returns the exit status."""
    flags = parse_arguments(arguments)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    return run_on_devices(lambda: explore(flags))


@os_errors_as_input_errors()
def explore(flags: argparse.Namespace) -> None:
    """Opens the model, serves the page, and waits until Ctrl-C."""
    try:
        from sagan_jax.exploring.page import LAUNCH, Page
    except ImportError as error:
        raise InputError(f"the explorer needs {error.name}: {install_extra('explore')}.") from error
    from sagan_jax.exploring.choice import Choice
    from sagan_jax.exploring.stage import Stage
    from sagan_jax.exploring.timeline import read_timeline

    stage = Stage(open_named_model(flags, make_mesh(), with_discriminator=True))
    stage.generated(Choice())  # compiles, so that the first visitor does not wait
    timeline = read_timeline(user_path(flags.workdir)) if flags.workdir else None
    page = Page(stage, timeline, origin_of(flags)).build()
    try:
        page.launch(server_name=flags.host, server_port=flags.port, share=flags.share, **LAUNCH)
    except OSError as error:
        raise InputError(
            f"--host={flags.host} --port={flags.port} cannot be used ({error}): try another port, or leave --host out."
        ) from error
    print(f"open http://{shown_host(flags.host)}:{flags.port}  (Ctrl-C ends it)", flush=True)
    page.block_thread()


def origin_of(flags: argparse.Namespace) -> str:
    """Returns the last two names of the model's path, which tell apart what is of the same name; "" without a path."""
    return "/".join(PurePath(flags.workdir or flags.model or "").parts[-2:])


def shown_host(host: str) -> str:
    """Returns an address at which a browser finds what listens on this one."""
    if host in ("0.0.0.0", "::"):  # all addresses of this machine, and none to go to
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    start(main)
