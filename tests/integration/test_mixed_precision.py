"""bfloat16 in the training step: gradients of each array against float32, and no sum of many numbers in bfloat16."""

import dataclasses
import functools
import math

import correctness
import jax
import jax.numpy as jnp
import pytest
from tiny import Trainer, tiny_config

from sagan_jax.config import load_config
from sagan_jax.data.batch import Batch
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.training.creation import abstract_state
from sagan_jax.training.dispatch import compile_steps
from sagan_jax.training.step_config import build_step_config

SUMS = ("reduce_sum", "cumsum", "reduce_window_sum", "scatter-add", "psum")


def test_the_gradient_of_each_array_is_that_of_float32():
    """In both networks, of 64 images of 16 px; attention's gate is open."""

    def gradients(dtype):
        config = tiny_config()
        config.model.compute_dtype = dtype
        config.model.generator.channels = config.model.discriminator.channels = 8
        config.train.batch_size = 64
        trainer = Trainer(config)
        step_config = dataclasses.replace(trainer.step_config, loss=correctness.LOSS)
        trainer.step = compile_steps(step_config, trainer.mesh, config.data.resolution)
        state = trainer.fresh_state()
        for network in (state.generator, state.discriminator):
            correctness.open_gates(network.params)
        state, _ = trainer.run(state, 1)
        return [correctness.first_gradients(network) for network in (state.generator, state.discriminator)]

    for found, expected in zip(gradients("bfloat16"), gradients("float32"), strict=True):
        assert len(expected) > 20
        assert not correctness.disagreements(found, expected, "bfloat16")


def variant(name, **fields):
    config = load_config(name)
    config.model.num_classes = config.model.num_classes or 10
    config.update_from_flattened_dict({"model.compute_dtype": "bfloat16", **fields})
    return config


@pytest.mark.parametrize(
    "config",
    [
        variant("imagenet128_best", **{"train.augmentations": "color,translation,cutout"}),
        variant("cifar10", **{"model.conditioning": "hierarchical latents", "train.accumulation_steps": 2}),
        variant("digits", **{"model.generator.attention": (), "model.generator.local_block": (8,)}),
    ],
    ids=["augmented", "conditions and pieces", "local block"],
)
def test_no_sum_of_many_numbers_is_in_bfloat16(config):
    """In the traced step; sums of four, over 2x2 squares, are no worse than the rounding of their result."""
    step_config, mesh = build_step_config(config), make_mesh(jax.devices()[:1])
    key = jax.eval_shape(functools.partial(jax.random.key, 0))
    state = abstract_state(step_config, mesh)
    train, side = config.train, config.data.resolution
    updates = (train.discriminator_updates, train.batch_size)
    batch = (
        jax.ShapeDtypeStruct((*updates, side, side, 3), jnp.uint8),
        jax.ShapeDtypeStruct(updates, jnp.int32),
    )
    steps = compile_steps(step_config, mesh, side)
    jaxpr = jax.make_jaxpr(steps)(state, None, (Batch(*batch),), key).jaxpr
    sums = [equation for equation in equations(jaxpr) if equation.primitive.name in SUMS]
    assert len(sums) > 100
    assert not [str(equation) for equation in sums if in_bfloat16(equation) and terms(equation) > 4]


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def in_bfloat16(equation):
    return any(getattr(variable.aval, "dtype", None) == jnp.bfloat16 for variable in equation.invars)


def terms(equation):
    sizes = [math.prod(variable.aval.shape) for variable in (equation.invars[0], equation.outvars[0])]
    return sizes[0] / sizes[1]
