"""The joined convolutions and their derivatives against the plain forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.ops import cpu, resampling
from sagan_jax.ops.convolution import conv2d
from sagan_jax.ops.layout import LAYOUT
from sagan_jax.ops.resampling import conv2d_mean_pool, max_pool, mean_pool, upsample, upsample_conv2d

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def plain_convolve(x, kernel):
    """By XLA alone, with its own derivatives."""
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT)


FORMS = {
    "same size": (conv2d, plain_convolve),
    "upsample": (upsample_conv2d, lambda x, kernel: plain_convolve(upsample(x), kernel)),
    "pool": (conv2d_mean_pool, lambda x, kernel: mean_pool(plain_convolve(x, kernel))),
}


@pytest.fixture(params=[1, 10**9], ids=["joined", "apart"], autouse=True)
def _both_ways(request, monkeypatch):
    monkeypatch.setattr(resampling, "FEWEST_POSITIONS", request.param)


@functools.partial(jax.jit, static_argnums=0)
def derivatives(function, x, kernel, weights):
    """The value, both gradients, the derivative of a gradient's length (a gradient penalty's), and forward mode."""

    def loss(x, kernel):
        return jnp.sum(weights * function(x, kernel))

    def penalty(x, kernel):
        return jnp.sum(jnp.square(jax.grad(lambda x: jnp.sum(jnp.tanh(function(x, kernel))))(x)))

    # Forward mode over reverse mode is a product of a Hessian and a vector.
    forward = jax.jvp(jax.grad(penalty), (x, kernel), (jnp.cos(x), jnp.sin(kernel)))
    return function(x, kernel), jax.grad(loss, (0, 1))(x, kernel), jax.grad(penalty, (0, 1))(x, kernel), forward


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(3, 4, 6, 5), (2, 2, 2, 1), (6, 8, 8, 3)])
@pytest.mark.parametrize("limits", [{}, {"MOST_POSITIONS": 40}, {"LARGE_KERNEL": 1}], ids=["", "pieces", "patches"])
def test_value_and_derivatives_equal_the_plain_form(form, shape, limits, monkeypatch):
    for name, limit in limits.items():
        monkeypatch.setattr(cpu, name, limit)
    function, plain = FORMS[form]
    x, kernel = jax.random.normal(jax.random.key(0), shape), jax.random.normal(jax.random.key(1), (3, 3, shape[-1], 7))
    weights = jax.random.normal(jax.random.key(2), jax.eval_shape(function, x, kernel).shape)
    derivatives.clear_cache()  # of what the patched numbers led to
    found, expected = (derivatives(f, x, kernel, weights) for f in (function, plain))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max()), found, expected)


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_for_other_platforms_are_the_same(form):
    """They are also those under vmap."""
    function, plain = FORMS[form]
    x, kernel = (
        jax.random.normal(jax.random.key(0), (2, 2, 4, 6, 5)),
        jax.random.normal(jax.random.key(1), (3, 3, 5, 7)),
    )
    weights = jax.random.normal(jax.random.key(2), jax.eval_shape(function, x[0], kernel).shape)
    derivatives.clear_cache()
    found, expected = (
        jax.vmap(functools.partial(derivatives, f), in_axes=(0, None, None))(x, kernel, weights)
        for f in (function, plain)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max()), found, expected)


def test_resampling():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(upsample(x), np.asarray(x).repeat(2, 1).repeat(2, 2))
    np.testing.assert_array_equal(mean_pool(x)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_array_equal(max_pool(x)[0, :, :, 0], [[5, 7], [13, 15]])


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_stays_within_its_rounding(form):
    function, plain = FORMS[form]
    x, kernel = jax.random.normal(jax.random.key(0), (2, 8, 8, 16)), jax.random.normal(jax.random.key(1), (3, 3, 16, 8))
    found, expected = function(x.astype(jnp.bfloat16), kernel), plain(x, kernel)
    assert found.dtype == jnp.bfloat16
    assert jnp.linalg.norm(found.astype(jnp.float32) - expected) < 1e-2 * jnp.linalg.norm(expected)
