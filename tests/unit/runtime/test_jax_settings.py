"""Settings of JAX in the environment: results do not depend on them, and a device that is missing is one sentence."""

import json
import logging
import os
import subprocess
import sys

import jax
import pytest
from etils import epath
from places import ROOT
from tiny import tiny_config

import sagan_jax
from sagan_jax.data.digits import Digits
from sagan_jax.errors import BAD_INPUT, InputError
from sagan_jax.runtime.jax_settings import PINNED, hint_at_unused_accelerators, recorded_settings, usual_settings
from sagan_jax.runtime.workdir import CONFIG_FILE
from sagan_jax.training.continuation import check_continuation, write_settings

DRAW = """
from sagan_jax.runtime.jax_settings import pin_settings
pin_settings()
import jax
key = jax.random.key(7)
print(jax.random.normal(key, (3,)), jax.random.categorical(key, jax.numpy.zeros((2, 5))), jax.numpy.ones(2).dtype)
"""
OTHER = {
    "JAX_ENABLE_X64": "1",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_RANDOM_SEED_OFFSET": "3",
    "JAX_HIGH_DYNAMIC_RANGE_GUMBEL": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
}


def python(program, **environment):
    variables = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | environment
    return subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, timeout=1200)


def test_the_environment_does_not_change_what_a_seed_gives(capsys):
    assert {name.lower() for name in OTHER} == PINNED.keys()
    exec(DRAW, {})
    usual = capsys.readouterr()
    assert usual.err == ""
    other = python(DRAW, **OTHER)
    assert other.returncode == 0, other.stderr
    assert other.stdout == usual.out
    for name, value in OTHER.items():
        assert f"warning: {name}={value} has no effect here" in other.stderr


def test_a_python_program_with_other_settings_is_refused(tmp_path):
    message = "jax.config.jax_enable_x64 = True changes the results: set it to False"
    with jax.enable_x64(True):
        with pytest.raises(InputError, match=message):
            sagan_jax.train_and_evaluate(tiny_config(), tmp_path / "run")
        with pytest.raises(InputError, match=message):
            sagan_jax.load("digits")
    assert not (tmp_path / "run").exists()


def test_what_results_depend_on_is_recorded():
    assert recorded_settings() == usual_settings()
    with jax.default_matmul_precision("highest"):
        assert recorded_settings() == usual_settings() | {"jax_default_matmul_precision": "highest"}


def test_a_run_that_recorded_what_results_do_not_depend_on_is_continued(tmp_path):
    config, source, folder = tiny_config(), Digits(16), epath.Path(tmp_path)
    write_settings(config, source, folder)
    settings = json.loads((folder / CONFIG_FILE).read_text())
    settings["jax"]["jax_numpy_rank_promotion"] = "allow"
    (folder / CONFIG_FILE).write_text(json.dumps(settings))
    check_continuation(config, source, folder, saved=0)
    settings["jax"]["jax_threefry_partitionable"] = False
    (folder / CONFIG_FILE).write_text(json.dumps(settings))
    with pytest.raises(InputError, match=r"jax.jax_threefry_partitionable = True, but the run in .* with False"):
        check_continuation(config, source, folder, saved=0)


@pytest.mark.parametrize("platform", ["cuda", "tpu", "nonsense"])
def test_a_platform_that_is_missing_is_one_sentence(platform):
    program = "import sys; from sagan_jax import cli, main; cli.start(lambda: main.main(sys.argv[1:]))"
    program = program.replace("sys.argv[1:]", "['--config=digits', '--workdir=/nowhere/run']")
    result = python(program, JAX_PLATFORMS=platform)
    assert result.returncode == BAD_INPUT, result.stderr
    assert result.stderr.startswith(f"error: JAX_PLATFORMS = '{platform}' cannot be used (")
    assert result.stderr.count("\n") == 1
    assert ("pip install 'jax[" in result.stderr) == (platform != "nonsense")
    assert result.stderr.endswith("unset JAX_PLATFORMS.\n")


@pytest.mark.parametrize(("device", "extra"), [("An NVIDIA GPU", "jax[cuda13]"), ("A Google TPU", "jax[tpu]")])
def test_an_unused_accelerator_is_one_line_with_the_command(capsys, device, extra):
    logger = logging.getLogger("jax._src.xla_bridge")
    before = list(logger.filters)
    hint_at_unused_accelerators()
    try:
        logger.warning(f"{device} may be present on this machine, but it is not used.")
        logger.warning("something else")
    finally:
        logger.filters[:] = before
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "machine has" in line]
    assert line.startswith("warning: this machine has a")
    assert "which is not used" in line
    assert f"pip install '{extra}=={jax.__version__}'" in line


def test_programs_compile_with_the_cache_where_jax_was_used_before(tmp_path):
    program = (
        "import jax\njax.jit(lambda x: x + 1)(1)\n"
        "from sagan_jax.runtime import compilation_cache\n"
        "compilation_cache.MIN_COMPILE_SECONDS = 0.0\n"
        "compilation_cache.enable_compilation_cache()\n"
        "jax.jit(lambda x: x * 2)(1)\n"
    )
    variables = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    variables |= {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=variables, check=True, timeout=600)
    assert [path.name for path in (tmp_path / ".cache/sagan_jax/compiled").rglob("*-cache")]
