"""Spectral norm of the layers against numpy's singular value decomposition, and when it moves."""

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import applied, initialised

from sagan_jax.models.discriminator import build_discriminator
from sagan_jax.models.generator import build_generator
from sagan_jax.models.layers import CLASS_TABLES, KERNELS, Conv, Dense, Embedding, LayerConfig
from sagan_jax.models.plain import plain_network, plain_params
from sagan_jax.models.spectral_norm import as_matrix, largest_sigma, largest_singular_value

CONFIG = LayerConfig(kernel_init=jax.nn.initializers.normal(1.0))
LAYERS = {
    "dense": (Dense(30, CONFIG), jnp.ones((2, 12))),
    "conv": (Conv(8, 3, CONFIG), jnp.ones((2, 4, 4, 6))),
    "narrow": (Dense(1, CONFIG), jnp.ones((2, 20))),
    "embedding": (Embedding(10, 6, CONFIG), jnp.array([3, 0])),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


def layer_and_variables(name, seed=0):
    layer, x = LAYERS[name]
    return layer, x, layer.init(jax.random.key(seed), x)


def exact_sigma(kernel):
    return np.linalg.svd(np.asarray(as_matrix(kernel), np.float64), compute_uv=False)[0]


def with_kernel(variables, kernel):
    return variables | {"params": variables["params"] | {"kernel": kernel}}


@each_layer
def test_init_returns_vectors_near_the_singular_ones(name):
    layer, x, variables = layer_and_variables(name)
    stats, sigma = variables["spectral_stats"], exact_sigma(variables["params"]["kernel"])
    assert set(stats) == {"u", "sigma"}
    np.testing.assert_allclose(np.linalg.norm(stats["u"]), 1, rtol=1e-5)
    assert 0.95 * sigma < stats["sigma"] < 1.0001 * sigma
    without = layer.clone(config=LayerConfig(spectral_norm=())).init(jax.random.key(0), x)
    assert set(without) == {"params"}


@each_layer
def test_a_mutable_apply_makes_one_step_of_the_power_iteration(name):
    layer, x, variables = layer_and_variables(name)
    variables["spectral_stats"]["u"] = jnp.full_like(variables["spectral_stats"]["u"], 1).at[0].set(3)
    y, updated = layer.apply(variables, x, mutable=["spectral_stats"])
    matrix = np.asarray(as_matrix(variables["params"]["kernel"]), np.float64)
    u = np.asarray(variables["spectral_stats"]["u"], np.float64)
    v = matrix @ u / np.linalg.norm(matrix @ u)
    expected = v @ matrix / np.linalg.norm(v @ matrix)
    sigma = v @ matrix @ expected
    np.testing.assert_allclose(updated["spectral_stats"]["u"], expected, atol=1e-5)
    np.testing.assert_allclose(updated["spectral_stats"]["sigma"], sigma, rtol=1e-5)
    plain = layer.clone(config=LayerConfig(spectral_norm=()))
    divided = with_kernel({"params": variables["params"]}, variables["params"]["kernel"] / sigma)
    np.testing.assert_allclose(y, plain.apply(divided, x), rtol=1e-4, atol=1e-5)
    # A second call from the same variables is the same: the pieces of an accumulated batch see the same weights.
    np.testing.assert_array_equal(layer.apply(variables, x, mutable=["spectral_stats"])[0], y)


@each_layer
def test_an_immutable_apply_uses_u_as_it_is_and_changes_nothing(name):
    layer, x, variables = layer_and_variables(name)
    variables["spectral_stats"]["u"] = jnp.full_like(variables["spectral_stats"]["u"], 0.7)
    y, updated = layer.apply(variables, x, mutable=["batch_stats"])
    assert "spectral_stats" not in updated
    kernel = variables["params"]["kernel"]
    length = np.linalg.norm(np.asarray(as_matrix(kernel), np.float64) @ variables["spectral_stats"]["u"])
    plain = layer.clone(config=LayerConfig(spectral_norm=()))
    np.testing.assert_allclose(
        y, plain.apply(with_kernel({"params": variables["params"]}, kernel / length), x), rtol=1e-4, atol=1e-5
    )


@each_layer
def test_iterations_converge_to_the_largest_singular_value(name):
    layer, x, variables = layer_and_variables(name)
    step = jax.jit(lambda variables: layer.apply(variables, x, mutable=["spectral_stats"])[1])
    for _ in range(200):
        variables = variables | step(variables)
    sigma = exact_sigma(variables["params"]["kernel"])
    np.testing.assert_allclose(variables["spectral_stats"]["sigma"], sigma, rtol=1e-4)


@pytest.mark.parametrize("mutable", [["spectral_stats"], ["batch_stats"], False])
def test_without_the_collection_it_fails_loudly(mutable):
    discriminator = build_discriminator(16, channels=2, attention_resolutions=())
    images = jnp.zeros((1, 16, 16, 3))
    params = initialised(discriminator, jax.random.key(0), images)["params"]
    with pytest.raises(ValueError, match="block_0/shortcut has no spectral_stats: pass all variables"):
        discriminator.apply({"params": params}, images, mutable=mutable)


@each_layer
def test_the_gradient_is_that_of_the_true_singular_value(name):
    layer, x, variables = layer_and_variables(name)
    for _ in range(300):
        variables = variables | layer.apply(variables, x, mutable=["spectral_stats"])[1]
    plain = layer.clone(config=LayerConfig(spectral_norm=()))

    def loss(y):
        return jnp.sum(jnp.sin(y))

    def through_svd(kernel):
        sigma = jnp.linalg.svd(as_matrix(kernel), compute_uv=False)[0]
        return loss(plain.apply(with_kernel({"params": variables["params"]}, kernel / sigma), x))

    expected = jax.grad(through_svd)(variables["params"]["kernel"])
    for mutable in (["spectral_stats"], ["batch_stats"]):
        found = jax.grad(lambda k, m=mutable: loss(layer.apply(with_kernel(variables, k), x, mutable=m)[0]))
        np.testing.assert_allclose(found(variables["params"]["kernel"]), expected, atol=1e-4)


def test_the_vectors_are_constants_in_the_gradient():
    """Far from convergence: sigma = v^T W u with u and v fixed, whose gradient is v u^T."""
    layer, x, variables = layer_and_variables("dense")
    u = variables["spectral_stats"]["u"] = jnp.full_like(variables["spectral_stats"]["u"], 30**-0.5)
    kernel = variables["params"]["kernel"]
    v = kernel @ u / jnp.linalg.norm(kernel @ u)

    def loss(kernel, variables):
        return jnp.sum(layer.apply(with_kernel(variables, kernel), x, mutable=["spectral_stats"])[0] ** 2)

    def by_hand(kernel):
        w = (v @ kernel) / jnp.linalg.norm(v @ kernel)
        return jnp.sum((x @ (kernel / (v @ kernel @ jax.lax.stop_gradient(w)))) ** 2)

    np.testing.assert_allclose(jax.grad(loss)(kernel, variables), jax.grad(by_hand)(kernel), rtol=1e-3, atol=1e-5)

    def of_stats(u):
        return loss(kernel, variables | {"spectral_stats": variables["spectral_stats"] | {"u": u}})

    np.testing.assert_array_equal(jax.grad(of_stats)(u), 0)


def test_a_whole_network_owns_its_stats_under_jit_and_eval_shape():
    discriminator = build_discriminator(16, num_classes=3, channels=2, attention_resolutions=(8,))
    images, labels = jax.random.normal(jax.random.key(0), (4, 16, 16, 3)), jnp.array([0, 1, 2, 0])
    variables = jax.jit(discriminator.init)(jax.random.key(1), images, labels)
    assert set(variables) == {"params", "spectral_stats"}
    shapes = jax.eval_shape(discriminator.init, jax.random.key(1), images, labels)
    assert jax.tree.structure(shapes) == jax.tree.structure(variables)
    move = jax.jit(lambda v: discriminator.apply(v, images, labels, mutable=["spectral_stats"]))
    _, updated = move(variables)
    assert jax.tree.structure(updated["spectral_stats"]) == jax.tree.structure(variables["spectral_stats"])
    assert largest_sigma(updated["spectral_stats"]) > 0
    # Weights divided by exact singular values, in the module without spectral norm, are the same network.
    for _ in range(100):
        variables = variables | move(variables)[1]
    plain = {"params": plain_params(discriminator, variables["params"])}
    found = applied(plain_network(discriminator), plain, images, labels)
    np.testing.assert_allclose(found, applied(discriminator, variables, images, labels), rtol=1e-3, atol=1e-4)


class PlainDense(nn.Module):
    """An attention layer of somebody's own, whose kernel has no spectral norm."""

    config: LayerConfig

    @nn.compact
    def __call__(self, x):
        return x + nn.Dense(x.shape[-1], kernel_init=nn.initializers.normal(3.0))(x)


def test_kernels_without_spectral_norm_stay_as_they_are():
    discriminator = build_discriminator(16, channels=2, attention_resolutions=(8,), attention=PlainDense)
    generator = build_generator(16, channels=2, attention_resolutions=(8,), attention=PlainDense)
    inputs = {discriminator: (jnp.zeros((1, 16, 16, 3)),), generator: (jnp.zeros((1, 8)),)}
    for network, arguments in inputs.items():
        options = {"train": True} if network is generator else {}
        params = initialised(network, jax.random.key(0), *arguments, **options)["params"]
        found = plain_params(network, params)
        np.testing.assert_array_equal(
            found["attention_8"]["Dense_0"]["kernel"], params["attention_8"]["Dense_0"]["kernel"]
        )
        block = "block_8" if network is generator else "block_0"
        np.testing.assert_allclose(exact_sigma(found[block]["conv_0"]["kernel"]), 1, rtol=1e-5)


def test_kernels_of_zeros_stay_zeros():
    """Class tables as well, whose gains are then 1 and biases 0; what is not finite is not hidden."""
    generator = build_generator(
        16,
        num_classes=3,
        channels=2,
        attention_resolutions=(8,),
        config=LayerConfig(spectral_norm=(KERNELS, CLASS_TABLES)),
    )
    variables = initialised(generator, jax.random.key(0), jnp.zeros((1, 8)), jnp.zeros(1, jnp.int32), train=True)
    found = plain_params(generator, jax.tree.map(jnp.zeros_like, variables["params"]))
    flat = flax.traverse_util.flatten_dict(found)
    gains = {path for path in flat if path[-1] == "scale" and path[0] != "norm"}  # the last norm knows no classes
    assert gains
    for path, value in flat.items():
        np.testing.assert_array_equal(value, 1.0 if path in gains else 0.0, err_msg=str(path))
    broken = plain_params(generator, jax.tree.map(lambda value: jnp.full_like(value, jnp.nan), variables["params"]))
    assert all(np.isnan(value).all() for value in jax.tree.leaves(broken))


def test_exact_singular_values_need_no_iteration():
    for shape in ((12, 30), (3, 3, 6, 8), (20, 1)):
        kernel = jax.random.normal(jax.random.key(0), shape)
        np.testing.assert_allclose(largest_singular_value(as_matrix(kernel)), exact_sigma(kernel), rtol=1e-5)


def test_largest_sigma_is_over_all_layers():
    layers = {name: {"sigma": jnp.float32(sigma), "u": jnp.full(4, 9.0)} for name, sigma in (("a", 2), ("b", 3))}
    assert largest_sigma(layers) == 3
