"""What takes long is said while it lasts."""

import time

from sagan_jax.runtime import busy as busy_module
from sagan_jax.runtime.busy import busy


def test_what_takes_long_is_said_while_it_lasts(monkeypatch, capsys):
    monkeypatch.setattr(busy_module, "SILENT", 0.5)
    monkeypatch.setattr(busy_module, "LINES_AT", (0.5, 1.0, 600))
    with busy("resting"):
        pass
    assert capsys.readouterr().out == ""
    with busy("compiling the step"):
        time.sleep(3)
    first, second, last = capsys.readouterr().out.splitlines()
    assert (first, second) == ("compiling the step, 0.5 s so far", "compiling the step, 1.0 s so far")
    assert last.startswith("compiling the step: done in ")
