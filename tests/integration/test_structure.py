"""The house rules: which way imports point, and how long a file may be."""

import ast
import configparser
import re
import subprocess

import pytest
from places import ROOT

from sagan_jax.config import default_config, flat_fields, load_config
from sagan_jax.training.validation import validate_config

PACKAGE = ROOT / "sagan_jax"
# Each room may import from the rooms listed behind it (and from itself).
ALLOWED = {
    "errors": set(),
    "extras": set(),
    "renamed": set(),
    "ops": set(),
    "config": {"errors", "renamed", "runtime"},
    "cli": {"errors", "runtime"},
    "models": {"errors", "ops"},
    "augmentation": {"errors"},
    "objectives": {"errors", "models", "augmentation"},
    "runtime": {"errors", "extras", "renamed"},
    "metrics": {"errors"},
    "data": {"errors", "extras", "runtime"},
    "weights": {"errors", "extras"},
    "features": {"errors", "runtime", "metrics", "weights"},
    "evaluation": {"errors", "renamed", "runtime", "metrics", "data", "features"},
    "sampling": {"errors", "renamed", "models", "runtime", "data", "metrics"},
    "portable": {"errors", "models", "runtime", "sampling"},
    "training": {
        "errors",
        "renamed",
        "config",
        "models",
        "augmentation",
        "objectives",
        "runtime",
        "data",
        "metrics",
        "features",
        "evaluation",
        "sampling",
    },
    "preparation": {"errors", "data", "runtime"},
    "overrides": {"errors", "renamed", "config"},
    "main": {"cli", "errors", "config", "overrides", "training", "runtime"},
    "evaluate": {"cli", "errors", "config", "training", "runtime", "data", "features", "evaluation"},
    "layouts": {"errors", "models", "sampling", "portable"},
    "loading": {"errors", "runtime", "sampling", "portable", "training"},
    "model_flags": {"errors", "loading", "sampling", "portable", "training"},
    "sample": {"cli", "errors", "runtime", "sampling", "model_flags"},
    "exploring": {"errors", "runtime", "metrics", "data", "sampling"},
    "explore": {"cli", "errors", "extras", "runtime", "exploring", "model_flags"},
    "export": {"cli", "errors", "runtime", "weights", "layouts", "sampling", "portable", "loading", "model_flags"},
    "reporting": {"errors", "runtime", "evaluation"},
    "report": {"cli", "errors", "runtime", "reporting"},
    "prepare": {"cli", "errors", "data", "preparation", "runtime"},
}
# Rooms that only programs import, with the rooms that may import each.
LEAVES = {
    "exploring": {"explore"},
    "reporting": {"report"},
    "layouts": {"export"},
    "weights": {"export", "layouts", "features"},  # features reads the weights of Inception with it
}
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))


def room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def sources():
    return [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.name != "__init__.py"]


def test_imports_point_one_way():
    wrong = []
    for path in sources():
        for module in imported_modules(path):
            parts = module.split(".")
            if parts[0] == "sagan_jax" and not {*parts[1:2]} <= ALLOWED[room(path)] | {room(path)}:
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not wrong


@pytest.mark.parametrize("leaf", LEAVES)
def test_nothing_but_its_program_imports_a_leaf(leaf):
    importing = {
        room(path) for path in sources() for module in imported_modules(path) if module.split(".")[1:2] == [leaf]
    }
    assert importing - {leaf} <= LEAVES[leaf]


def test_every_room_is_installed():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {"configs"}
    assert settings["options"]["packages"].split() == ["sagan_jax", *(f"sagan_jax.{name}" for name in sorted(rooms))]


def test_models_hold_no_files_clocks_or_shardings():
    standard = {"collections", "dataclasses", "functools", "itertools", "math", "typing"}
    allowed = {"flax", "jax", "jaxtyping", "sagan_jax"} | standard
    for path in (PACKAGE / "models").glob("*.py"):
        assert {module.split(".")[0] for module in imported_modules(path)} <= allowed, path


def test_only_one_file_says_partition_spec():
    naming = [path.name for path in sources() if "PartitionSpec" in path.read_text()]
    assert naming == ["sharding.py"]


def test_unit_tests_are_named_after_their_modules():
    unit = ROOT / "tests" / "unit"
    named = [path.relative_to(unit) for path in unit.rglob("test_*.py")]
    assert len(named) > 40
    assert not [path for path in named if not (PACKAGE / path.parent / path.name.removeprefix("test_")).exists()]


def test_files_and_functions_stay_short():
    long = []
    for path in [*sources(), *(ROOT / "configs").glob("*.py")]:
        text = path.read_text()
        limit = 30 if path.parent.name == "configs" else 250
        if len(text.splitlines()) > limit:
            long.append(f"{path.name}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            lines = getattr(node, "end_lineno", 0) - getattr(node, "lineno", 0) + 1
            if isinstance(node, ast.FunctionDef) and lines > 60 and path.name != "config.py":
                long.append(f"{path.name}: {node.name} has {lines} lines")
    assert not long


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_is_valid_and_documented(name):
    config = load_config(name)
    validate_config(config)
    text = (ROOT / "configs" / f"{name}.py").read_text()
    for part in ("Source: ", f"Command: python -m sagan_jax.main --config=configs/{name}.py", "Hardware: "):
        assert part in text
    assert re.search("^(Result: |Expected time and result: )", text, re.MULTILINE)


def test_configs_only_use_known_fields():
    known = set(flat_fields(default_config()))
    for name in CONFIGS:
        assert set(flat_fields(load_config(name))) == known, name


def test_readme_names_every_config_and_nothing_that_is_missing():
    text = (ROOT / "README.md").read_text()
    for name in CONFIGS:
        assert f"`{name}`" in text
    for path in re.findall(r"\]\(([\w./-]+)\)", text):
        assert (ROOT / path).exists(), path


def test_git_ignores_what_the_commands_of_the_docs_write():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "configs").glob("*.py")]
    written = re.findall(
        r"--(?:out|npz|workdir)=([a-z][\w./]*)(?![\w./:])", "\n".join(page.read_text() for page in pages)
    )
    kept = ("bench/results/", "sagan_jax/pretrained/")  # which are committed
    written = sorted({path for path in written if not path.startswith(kept)} | {"samples/001/sheet.png", "sagan-7.log"})
    result = subprocess.run(["git", "check-ignore", *written], cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode == 128:
        pytest.skip("not a checkout of git")
    assert len(written) > 8
    assert result.stdout.split() == written


def test_the_table_of_rooms_is_what_the_imports_are_held_to():
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| room |")[2].partition("\n\n")[0]
    rows = {}
    for line in table.splitlines()[2:]:
        names, _, may_import = (cell.strip() for cell in line.strip("|").split("|"))
        for name in re.findall(r"`(\w+)(?:/|\.py)`", names):
            rows[name] = set(re.findall(r"`(\w+)`", may_import))
    assert rows == ALLOWED
