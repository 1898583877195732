"""Libraries as programs have them."""

import logging
import sys

import pytest

from sagan_jax import cli


@pytest.fixture
def quiet(monkeypatch):
    """The libraries as programs have them; afterwards as before."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    filters = {name: list(logging.getLogger(name).filters) for name in ("absl", "asyncio")}
    cli.quiet_libraries()
    yield
    for name, before in filters.items():
        logging.getLogger(name).filters[:] = before
