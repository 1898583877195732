"""The training step as the TPU's compiler leaves it, for a slice that need not be there."""

import json
import os
import subprocess
import sys

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tpu_aot
from experiment import Experiment
from hbm_traffic import hbm_traffic
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from places import ROOT
from tiny import tiny_config

from sagan_jax.runtime.sharding import make_mesh

# As in compiled programs for TPUs, shortened.
LINES = """
  %all-reduce.2 = (f32[]{:T(128)}, f32[512,512]{1,0:T(8,128)}) all-reduce(%a, %b), channel_id=1, to_apply=%add
  ROOT %all-reduce.3 = bf16[3]{0} all-reduce(%all-reduce.2), replica_groups={{0,1}}, to_apply=%add
  %all-reduce-start.1 = f32[8]{0} all-reduce-start(%c), channel_id=2, to_apply=%add
  %all-reduce-done.1 = f32[8]{0} all-reduce-done(%all-reduce-start.1), metadata={op_name="jit(f)/all-gather(x)"}
  %all-gather-start = ((f32[2,4]{1,0:T(8,128)}, pred[3]{0}), (f32[16,4]{1,0}, pred[24]{0})) all-gather-start(%d, %e)
  %all-gather-done = (f32[16,4]{1,0}, pred[24]{0}) all-gather-done(%all-gather-start)
  %collective-permute-start = (s32[5]{0}, s32[5]{0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%f)
  %reduce-scatter = f32[64]{0:T(256)S(1)} reduce-scatter(%g), dimensions={0}, to_apply=%add
  %all-to-all = (f8e4m3fn[6]{0}, /*index=1*/s4[6]{0}) all-to-all(%h, %i), dimensions={0}
  %fusion = f32[9]{0} fusion(%all-reduce.3), kind=kLoop, metadata={op_name="an all-reduce(x)"}
"""

# One gather beside two pieces of work, another of the same shape, and a sum that is kept in four parts.
FUSIONS = """
%async_collective_fusion.1 (param_0: f32[3,8], param_1: u32[]) -> (f32[3,8], u32[]) {
  %all-gather.1 = f32[3,8]{1,0:T(8,128)S(1)} all-gather(%param_0), channel_id=7, dimensions={1}
}

%async_collective_fusion.2 (param_0: f32[3,8], param_1: u32[]) -> (f32[3,8], u32[]) {
  %all-gather.2 = f32[3,8]{1,0:T(8,128)} all-gather(%param_0), channel_id=7, dimensions={1}
}

%fused_computation.3 (param_0: f32[3,2]) -> f32[3,8] {
  ROOT %all-gather.3 = f32[3,8]{1,0} all-gather(%param_0), channel_id=8, dimensions={1}
}

%all-reduce-scatter.4 (input: bf16[3,8]) -> bf16[3,2] {
  %all-reduce.4 = bf16[3,8]{1,0} all-reduce(%input), channel_id=1, to_apply=%add
}

ENTRY %main (a: f32[5]) -> f32[5] {
  %all-reduce.5 = f32[5]{0} all-reduce(%a), channel_id=1, to_apply=%add
  ROOT %all-reduce.6 = f32[5]{0} all-reduce(%all-reduce.5), channel_id=1, to_apply=%add
}
"""


def test_collectives_of_a_text():
    assert tpu_aot.collectives(LINES) == {
        "all-gather": [16 * 4 * 4 + 24],
        "all-to-all": [6 + 6 // 2],
        "all-reduce": [4 + 512 * 512 * 4, 8 * 4, 3 * 2],
        "collective-permute": [5 * 4],
        "reduce-scatter": [64 * 4],
    }
    assert tpu_aot.collectives(FUSIONS) == {
        "all-gather": [3 * 8 * 4, 3 * 8 * 4],
        "all-reduce": [5 * 4, 5 * 4],
        "reduce-scatter": [3 * 2 * 2],
    }


# Four images: a slice of a weight into VMEM, a convolution that reads it there, a fusion that writes a part in place.
MOVES = """
%fused.1 (param_0.1: f32[4,8,8,2], param_1.1: f32[3,3,2,2]) -> f32[4,8,8,2] {
  %param_0.1 = f32[4,8,8,2]{3,2,1,0} parameter(0)
  %param_1.1 = f32[3,3,2,2]{3,2,1,0} parameter(1)
  ROOT %convolution.1 = f32[4,8,8,2]{3,2,1,0} convolution(%param_0.1, %param_1.1)
}

%fused.2 (param_0.2: f32[100,2], param_1.2: f32[1,2]) -> f32[100,2] {
  %param_0.2 = f32[100,2]{1,0} parameter(0)
  %param_1.2 = f32[1,2]{1,0} parameter(1)
  ROOT %dynamic-update-slice.1 = f32[100,2]{1,0} dynamic-update-slice(%param_0.2, %param_1.2)
}

ENTRY %main (param.1: f32[4,8,8,2], param.2: f32[30,3,2,2], param.3: f32[100,2]) -> f32[100,2] {
  %param.1 = f32[4,8,8,2]{3,2,1,0} parameter(0)
  %param.2 = f32[30,3,2,2]{3,2,1,0:T(8,128)} parameter(1)
  %param.3 = f32[100,2]{1,0} parameter(2)
  %slice-start.1 = ((f32[30,3,2,2]{3,2,1,0}), f32[3,3,2,2]{3,2,1,0:S(1)}, s32[]{:S(2)}) slice-start(%param.2)
  %slice-done.1 = f32[3,3,2,2]{3,2,1,0:T(8,128)S(1)} slice-done(%slice-start.1)
  %fusion.1 = f32[4,8,8,2]{3,2,1,0} fusion(%param.1, %slice-done.1), calls=%fused.1, metadata={op_name="Generator/x"}
  %fusion.2 = f32[4,8,8,2]{3,2:S(1)} fusion(%fusion.1, %slice-done.1), metadata={op_name="Discriminator"}
  %slice.1 = f32[1,2]{1,0} slice(%param.3), slice={[0:1], [0:2]}
  %all-reduce.1 = f32[1,2]{1,0} all-reduce(%slice.1), channel_id=1, to_apply=%add
  ROOT %fusion.3 = f32[100,2]{1,0} fusion(%param.3, %all-reduce.1), kind=kLoop, calls=%fused.2
}
"""


def test_traffic_of_a_text():
    maps, kernel, row = 4 * 8 * 8 * 2 * 4, 3 * 3 * 2 * 2 * 4, 2 * 4
    found = {part: round(size * 1e9) for part, size in hbm_traffic(MOVES, images=4).items()}
    assert found == {
        "weights and optimiser": kernel + 2 * row + 2 * row,
        "generator": 2 * maps,
        "discriminator": maps,
        "exchanges": 2 * row,
    }


def test_collectives_and_memory_of_a_compiled_program():
    """Each of eight devices has 4 rows: their sum travels, and the rows themselves where all are asked for."""
    mesh = Mesh(np.asarray(jax.devices()), ("data",))
    rows, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    shape = jax.ShapeDtypeStruct((32, 128), jnp.float32, sharding=rows)
    summed = jax.jit(lambda x: x.sum(0), out_shardings=whole).lower(shape).compile()
    assert tpu_aot.collectives(summed.as_text()) == {"all-reduce": [128 * 4]}
    gathered = jax.jit(jnp.sin, out_shardings=whole).lower(shape).compile()
    assert tpu_aot.collectives(gathered.as_text()) == {"all-gather": [32 * 128 * 4]}
    alone = jax.jit(jnp.sin, out_shardings=rows).lower(shape).compile()
    assert tpu_aot.collectives(alone.as_text()) == {}

    used = tpu_aot.memory(gathered.memory_analysis())
    assert used["arguments_gib"] * tpu_aot.GIB == 4 * 128 * 4
    assert used["total_gib"] * tpu_aot.GIB >= 4 * 128 * 4 + 32 * 128 * 4
    donated = jax.jit(jnp.sin, out_shardings=rows, donate_argnums=0).lower(shape).compile()
    saved, unsaved = (tpu_aot.memory(program.memory_analysis())["total_gib"] for program in (donated, alone))
    assert (unsaved - saved) * tpu_aot.GIB == 4 * 128 * 4


def test_a_missing_compiler_is_named_with_its_remedy(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tpu_aot, "FOLDER", tmp_path / "libtpu")
    monkeypatch.setattr(tpu_aot, "SETTINGS", {})
    monkeypatch.setitem(sys.modules, "libtpu", None)
    monkeypatch.setattr(sys, "argv", ["tpu_aot.py"])
    with pytest.raises(SystemExit) as stopped:
        tpu_aot.main()
    assert stopped.value.code == 2
    assert "pip install libtpu" in capsys.readouterr().err


def test_the_same_row_is_replaced(tmp_path):
    row = {"config": "digits", "set": [], "slice": "v5e:2x4", "batch_size": 64}
    for batch_size, flops in ((64, 1), (128, 2), (64, 3)):
        tpu_aot.keep(tmp_path / "rows.json", row | {"batch_size": batch_size, "flops": flops})
    found = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["batch_size"], row["flops"]) for row in found] == [(128, 2), (64, 3)]


@pytest.fixture(scope="module")
def tiny_program(tmp_path_factory):
    """What bench/tpu_aot.py says of the tiny digits, 8 images to each of 8 chips.

    In a process of its own: once loaded, libtpu stays, and this process has a CPU of eight devices.
    """
    file = tmp_path_factory.mktemp("tpu") / "rows.json"
    narrow = ("model.latent_size=8", "model.generator.channels=2", "model.discriminator.channels=2")
    process = subprocess.run(
        [
            *(sys.executable, "bench/tpu_aot.py", "--config=digits", "--slices=v5e:2x4", "--batch=64"),
            *(f"--out={file}", *(f"--set={change}" for change in narrow)),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        cwd=ROOT,
    )
    if process.returncode == 2 and "not installed" in process.stderr:
        pytest.skip(process.stderr.strip())
    assert process.returncode == 0, process.stdout + process.stderr
    (row,) = json.loads(file.read_text())
    return row


@pytest.mark.slow
def test_a_tpu_slice_exchanges_gradients_and_moments_only(tiny_program, tiny_trainer):
    assert tiny_program.get("error") is None
    assert (tiny_program["device"], tiny_program["devices"]) == ("TPU v5 lite", 8)
    assert list(tiny_program["collectives"]) == ["all-reduce"]
    assert sum(tiny_program["hbm_gb_per_step_and_chip"].values()) > 0  # its maps stay in VMEM
    # Two for each of five batch norms on the way to the discriminator's images, as the variance is that of differences
    # from a mean that is exchanged first; one for each on the way back from the generator's loss, and one for the
    # gradients of each network; the generator's own moments and the discriminator's gradients go along with others.
    # libtpu is pinned: another number is another program.
    assert len(tiny_program["collectives"]["all-reduce"]) == 17
    exchanged = sum(tiny_program["collectives"]["all-reduce"]) / np.dtype(np.float32).itemsize
    state = tiny_trainer.fresh_state()
    generator, discriminator, moments = (
        flax.traverse_util.flatten_dict(tree)
        for tree in (state.generator.params, state.discriminator.params, state.generator.batch_stats)
    )
    size = {path: array.size for path, array in (generator | {("D", *p): x for p, x in discriminator.items()}).items()}
    # The gradients of kernels joined with resampling travel as 4x4, 16 numbers for 9.
    joined = sum(
        number
        for path, number in size.items()
        if (path[-2:] == ("conv_0", "kernel") and path[0] != "D")
        or (path[-2:] == ("conv_1", "kernel") and path[0] == "D" and path[1] != "block_2")
    )
    # Moments are those of the images for the discriminator, of the generator's own, and the gradients of these; as many
    # numbers again are the means before the first two. The first norm's are added up over its 4x4 positions only after
    # they have travelled, but for the gradients.
    first = generator["block_8", "norm_0", "scale"].shape[-1]
    most = sum(size.values()) + 7 / 9 * joined + 4 * sum(x.size for x in moments.values()) + 2 * 2 * 15 * first
    assert 0.99 * most < exchanged <= most


@pytest.mark.slow
def test_a_tpu_slice_shares_the_work(tiny_program):
    """Against one CPU's work for as many images; the optimiser's is done by each chip."""
    config = tiny_config()
    config.train.batch_size = tiny_program["batch_size"]
    alone = Experiment(config, make_mesh(jax.devices()[:1]))
    take_steps, inputs = alone.take_steps(), alone.abstract_inputs()
    flops = take_steps.lower(alone.abstract_state(), None, inputs, jax.random.key(0)).cost_analysis()["flops"]
    per_image = flops / config.train.batch_size / 1e9
    assert per_image / 1.5 < tiny_program["gflop_per_image"] < per_image * 1.5
