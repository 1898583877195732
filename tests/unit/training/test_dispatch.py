"""Several steps in one call, and what the compiled program does and does not do."""

import dataclasses
import math
import re

import jax
import numpy as np
import pytest
from tiny import Trainer, tiny_config

from sagan_jax.config import load_config
from sagan_jax.data.batch import Batch
from sagan_jax.runtime.checkpoint import Checkpoints, SavedCheckpoints
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.training.creation import abstract_state
from sagan_jax.training.dispatch import call_lengths, compile_steps
from sagan_jax.training.step_config import build_step_config


@pytest.mark.parametrize(
    ("first", "last", "most", "intervals", "expected"),
    [
        (0, 5, 1, (100,), [1] * 5),
        (0, 10, 4, (100, 0), [4, 4, 2]),
        (0, 12, 5, (6,), [5, 1, 4, 2]),
        (7, 12, 4, (100,), [1, 4]),  # a run that was stopped in between comes back into the rhythm
        (3, 3, 4, (100,), []),
    ],
)
def test_calls_end_where_something_is_due(first, last, most, intervals, expected):
    assert list(call_lengths(first, last, most, intervals)) == expected


def gentle_config():
    """With an Adam that does not make large steps of rounding errors in tiny gradients."""
    config = tiny_config()
    for optimizer in (config.optimizer.generator, config.optimizer.discriminator):
        optimizer.update(learning_rate=0.1, epsilon=1.0)
    return config


@pytest.fixture(scope="module")
def gentle_trainer():
    return Trainer(gentle_config())


@pytest.mark.parametrize("unroll", [True, False], ids=["flat", "scan"])
def test_several_steps_in_a_call_equal_as_many_calls(gentle_trainer, unroll):
    trainer, key = gentle_trainer, stream_key(0, "train")
    start = jax.device_get(trainer.fresh_state())
    expected, first_metrics = trainer.run(trainer.fresh_state(), 1)
    expected, last_metrics = trainer.run(expected, 1)
    step_config = dataclasses.replace(trainer.step_config, unroll=unroll)
    take_steps = compile_steps(step_config, trainer.mesh, trainer.config.data.resolution)
    state, metrics = take_steps(trainer.fresh_state(), None, tuple(trainer.batch(step) for step in range(2)), key)
    assert int(state.step) == 2
    leaves = (jax.tree.leaves(state.generator.params) for state in (expected, start))
    moved = [np.abs(a - b).max() for a, b in zip(*leaves, strict=True)]
    assert max(moved) > 1e-2
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), state.generator, expected.generator)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), state.discriminator, expected.discriminator)
    for name, value in last_metrics.items():
        mean = (first_metrics[name] + value) / 2
        np.testing.assert_allclose(metrics[name], mean, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def programs():
    """The compiled step on one device and on eight."""
    found = {}
    for devices in (1, 8):
        trainer = Trainer(tiny_config(), devices)
        arguments = (trainer.fresh_state(), None, (trainer.batch(0),), stream_key(0, "train"))
        found[devices] = trainer.step.lower(*arguments).compile()
    return found


def test_a_step_never_waits_for_the_host(programs):
    for program in programs.values():
        assert not re.findall(r"\b(?:infeed|outfeed|send|recv|[\w-]*callback[\w-]*)\(", program.as_text())


def test_the_state_is_updated_in_place(programs):
    """Donated: all arrays of the state but some small ones are outputs in the memory of inputs."""
    memory = programs[1].memory_analysis()
    assert memory.alias_size_in_bytes > 0.95 * memory.output_size_in_bytes


def test_devices_share_the_work(programs):
    alone, shared = (programs[devices].cost_analysis()["flops"] for devices in (1, 8))
    assert shared < 1.5 * alone / 8  # spectral norm and Adam are done by each


def test_devices_exchange_gradients_and_moments_only(programs, tiny_trainer):
    """Images stay where they are; the gradients of joined kernels travel as 4x4, 16 numbers for 9."""
    text = programs[8].as_text()
    assert not re.findall(r" (?:all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(", text)
    shapes = [
        shape
        for types in re.findall(r" = (.*?) all-reduce(?:-start)?\(", text)
        for shape in re.findall(r"f32\[([\d,]*)\]", types)
    ]
    exchanged = sum(math.prod(map(int, shape.split(","))) if shape else 1 for shape in shapes)
    state = tiny_trainer.fresh_state()
    generator, discriminator, moments = (
        sum(x.size for x in jax.tree.leaves(tree))
        for tree in (state.generator.params, state.discriminator.params, state.generator.batch_stats)
    )
    scalars = 20
    # Moments of the images for the discriminator's update, of the generator's own, and their gradients.
    assert exchanged <= 16 / 9 * (generator + discriminator) + 3 * moments + scalars
    assert exchanged >= generator + discriminator


def test_a_step_at_128_px_takes_87_gflop_per_image():
    """What is not asked for costs nothing: penalties, augmentation, other networks, signals."""
    config = load_config("imagenet128")
    step_config, mesh, batch_size = build_step_config(config), make_mesh(jax.devices()[:1]), config.train.batch_size
    state = abstract_state(step_config, mesh)
    batch = Batch(
        jax.ShapeDtypeStruct((1, batch_size, 128, 128, 3), np.uint8), jax.ShapeDtypeStruct((1, batch_size), np.int32)
    )
    step = compile_steps(step_config, mesh, 128)
    flops = step.lower(state, None, (batch,), jax.random.key(0)).cost_analysis()["flops"]
    assert flops / batch_size == pytest.approx(87.015e9, rel=1e-3)


def bytes_on_one_device(state):
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(state))


def test_a_state_spread_over_devices_takes_the_same_steps_and_less_memory(tmp_path):
    config = gentle_config()
    config.model.generator.channels = config.model.discriminator.channels = 16
    whole = Trainer(config)
    config = config.copy_and_resolve_references()
    config.mesh.fsdp = 4
    spread = Trainer(config, devices=8)
    start = spread.fresh_state()
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(start), jax.device_get(whole.fresh_state()))
    state, metrics = spread.run(start, 1)
    assert bytes_on_one_device(state) < 0.5 * sum(x.nbytes for x in jax.tree.leaves(state))
    expected, expected_metrics = whole.run(whole.fresh_state(), 1)
    for name, value in expected_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), jax.device_get(state), expected)

    checkpoints = Checkpoints(tmp_path, 1, 100)
    checkpoints.save(1, state)
    checkpoints.close()
    found = SavedCheckpoints(tmp_path).restore(1, abstract_state(whole.step_config, whole.mesh))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(found), jax.device_get(state))
