"""Where the project is, and the data that its developers have beside it."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
NO_TENSORFLOW = ROOT / "tests" / "no_tensorflow"
WITHOUT_TENSORFLOW = f"{NO_TENSORFLOW}:{ROOT}"  # PYTHONPATH of programs that do not need it
DATA = ROOT.parent / "shared" / "data"  # real images and weights; tests that want them skip where they are missing
