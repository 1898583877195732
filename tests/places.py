"""Where the project is, and the data that its developers have beside it."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
WITHOUT_TENSORFLOW = f"{ROOT / 'tests' / 'no_tensorflow'}:{ROOT}"  # PYTHONPATH of programs that do not need it
DATA = ROOT.parent / "shared" / "data"  # real images and weights; tests that want them skip where they are missing
