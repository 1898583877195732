"""Self-attention against a plain numpy version."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax.models import attention
from sagan_jax.models.attention import ATTENTIONS, MultiHeadAttention, SelfAttention, UnpooledAttention
from sagan_jax.models.layers import LayerConfig

SHAPE = (2, 6, 6, 16)


def initialised(definition):
    module = definition(LayerConfig(spectral_norm=()))
    x = jax.random.normal(jax.random.key(0), SHAPE)
    return module, module.init(jax.random.key(1), x), x


@pytest.fixture(scope="module")
def layer():
    return initialised(SelfAttention)


def numpy_attention(params, x, side=2, heads=1):
    """Keys and values are pooled over squares of a side; returns the result and the mean weights of the heads."""

    def project(name, x):
        return x @ np.asarray(params[name]["kernel"], np.float64)[0, 0]

    def pool(x):
        batch, height, width, channels = x.shape
        squares = x.reshape(batch, height // side, side, width // side, side, channels)
        return squares.max((2, 4)).reshape(batch, -1, channels)

    x = np.asarray(x, np.float64)
    batch, height, width, _ = x.shape
    query = project("query", x).reshape(batch, height * width, -1)
    key, value = pool(project("key", x)), pool(project("value", x))
    parts = zip(*(np.split(part, heads, axis=-1) for part in (query, key, value)), strict=True)
    attended, weights = [], []
    for head_query, head_key, head_value in parts:
        scores = head_query @ head_key.transpose(0, 2, 1)
        weights.append(np.exp(scores) / np.exp(scores).sum(-1, keepdims=True))
        attended.append(weights[-1] @ head_value)
    o = project("output", np.concatenate(attended, axis=-1).reshape(batch, height, width, -1))
    return x + float(params["gamma"]) * o, np.mean(weights, axis=0)


FORMS = {"pooled": {}, "unpooled": {"side": 1}, "multi-head": {"heads": 4}}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_matches_plain_numpy(name):
    module, variables, x = initialised(ATTENTIONS[name])
    params = variables["params"] | {"gamma": jnp.float32(0.7)}
    y, sown = module.apply(variables | {"params": params}, x, mutable=["attention_maps"])
    expected, weights = numpy_attention(params, x, **FORMS[name])
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sown["attention_maps"]["weights"], weights, atol=1e-5)


def test_heads_share_the_channels_and_never_have_none():
    """16 channels make 2 for queries, and so one for each of four heads; of 64, heads get a quarter of 8."""
    for channels, narrow, half in ((16, 4, 8), (64, 8, 32)):
        params = MultiHeadAttention(LayerConfig()).init(jax.random.key(0), jnp.ones((1, 4, 4, channels)))["params"]
        assert (params["query"]["kernel"].shape[-1], params["value"]["kernel"].shape[-1]) == (narrow, half)


def test_attention_without_pooling_has_a_weight_for_every_position():
    module, variables, x = initialised(UnpooledAttention)
    _, sown = module.apply(variables, x, mutable=["attention_maps"])
    assert sown["attention_maps"]["weights"].shape == (2, 36, 36)


def test_all_four_convolutions_are_spectrally_normalised_and_init_returns_no_maps():
    variables = SelfAttention(LayerConfig()).init(jax.random.key(1), jnp.ones(SHAPE))
    assert set(variables) == {"params", "spectral_stats"}
    assert set(variables["spectral_stats"]) == {"query", "key", "value", "output"}


def test_starts_as_the_identity(layer):
    module, variables, x = layer
    assert variables["params"]["gamma"] == 0
    np.testing.assert_array_equal(module.apply(variables, x), x)


def test_gamma_learns_from_the_first_step_on(layer):
    module, variables, x = layer

    def loss(gamma):
        return jnp.sum(module.apply(variables | {"params": variables["params"] | {"gamma": gamma}}, x) ** 2)

    assert abs(jax.grad(loss)(jnp.float32(0))) > 0


def test_maps_are_kept_only_when_asked_for(layer):
    module, variables, x = layer
    _, updated = module.apply(variables, x, mutable=["batch_stats"])
    assert "attention_maps" not in updated


@pytest.mark.parametrize("most", [9 * 12, 9 * 5, 1])
def test_blocks_of_queries_equal_the_whole(layer, monkeypatch, most):
    """Also their gradients; the 36 queries of 9 keys are cut into blocks of 12, 4 and 1."""
    module, variables, x = layer
    variables = {"params": variables["params"] | {"gamma": jnp.float32(0.7)}}

    def loss(variables, x):
        return jnp.sum(jnp.sin(module.apply(variables, x)))

    expected = jax.grad(loss, argnums=(0, 1))(variables, x)
    monkeypatch.setattr(attention, "MOST_WEIGHTS", most)
    assert "while" in jax.jit(loss).lower(variables, x).as_text()
    found = jax.grad(loss, argnums=(0, 1))(variables, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, expected)


def test_layers_of_the_authors_code(layer):
    _, variables, _ = layer
    shapes = {name: p["kernel"].shape for name, p in variables["params"].items() if name != "gamma"}
    assert shapes == {"query": (1, 1, 16, 2), "key": (1, 1, 16, 2), "value": (1, 1, 16, 8), "output": (1, 1, 8, 16)}


def test_bfloat16_keeps_the_softmax_in_float32(layer):
    _, variables, x = layer
    module = SelfAttention(LayerConfig(compute_dtype=jnp.bfloat16, spectral_norm=()))
    y, sown = module.apply(variables, x.astype(jnp.bfloat16), mutable=["attention_maps"])
    weights = sown["attention_maps"]["weights"]
    assert (y.dtype, weights.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
