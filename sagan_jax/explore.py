"""A page on which one clicks on generated images and sees where they attend.

python -m sagan_jax.explore --workdir=RUN | --model=DIR [--port=7860] [--host=127.0.0.1] [--share]

Needs the extra `explore`. docs/explore.md says what the page shows.
"""

import argparse
import os
import sys

from absl import logging
from etils import epath

from sagan_jax.errors import InputError, exit_status
from sagan_jax.model_flags import add_model_flags, open_named_model
from sagan_jax.runtime.compilation_cache import enable_compilation_cache
from sagan_jax.runtime.sharding import make_mesh

LOOPBACK = "127.0.0.1"


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The flags; exits with one sentence where they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m sagan_jax.explore", description=__doc__.splitlines()[0])
    add_model_flags(parser)
    parser.add_argument("--port", type=int, default=7860, help="(7860)")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on; by default only this machine's own")
    parser.add_argument(
        "--share", action="store_true", help="also through a public address of Gradio's; off by default"
    )
    flags = parser.parse_args(arguments)
    if not 1 <= flags.port < 2**16:
        parser.error(f"--port={flags.port} must be from 1 to {2**16 - 1}")
    return flags


def main(arguments: list[str] | None = None) -> int:
    """Shows the page until Ctrl-C; returns the exit status."""
    flags = parse_arguments(arguments)
    logging.set_verbosity(logging.ERROR)  # Orbax tells of every file, and warns that it may only read
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    enable_compilation_cache()
    return exit_status(lambda: explore(flags))


def explore(flags: argparse.Namespace) -> None:
    """Opens the model, serves the page, and waits."""
    try:
        from sagan_jax.exploring.page import CSS, HEAD, Page
    except ImportError as error:
        raise InputError(f"the explorer needs {error.name}: pip install 'sagan_jax[explore]'.") from error
    import gradio as gr

    from sagan_jax.exploring.behaviour import ALWAYS_LIGHT
    from sagan_jax.exploring.scene import Choice
    from sagan_jax.exploring.stage import Stage
    from sagan_jax.exploring.timeline import read_timeline
    from sagan_jax.exploring.upload import LARGEST

    stage = Stage(open_named_model(flags, make_mesh(), with_discriminator=True))
    stage.generated(Choice())  # compiles, so that the first visitor does not wait
    timeline = read_timeline(epath.Path(flags.workdir).expanduser()) if flags.workdir else None
    page = Page(stage, timeline).build()
    try:
        page.launch(
            server_name=flags.host,
            server_port=flags.port,
            share=flags.share,
            max_file_size=LARGEST,
            css=CSS,
            head=HEAD,
            js=ALWAYS_LIGHT,
            theme=gr.themes.Base(primary_hue="neutral", radius_size="lg", font=["system-ui"], font_mono=["monospace"]),
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise InputError(
            f"--host={flags.host} --port={flags.port} cannot be used ({error}): try another port."
        ) from error
    print(f"open http://{flags.host}:{flags.port}  (Ctrl-C ends it)", flush=True)
    page.block_thread()


if __name__ == "__main__":
    sys.exit(main())
