"""The training step against one written out in plain JAX: after ten steps every array of the state is the same.

The reference follows the paper (Zhang et al. 2018, arXiv:1805.08318) and the authors' code in their simplest form: no
joined convolutions, no sharding, one batch at a time. It shares with the package the names and shapes of the arrays,
and how a step draws latents and labels.

Both run in float64, where they differ by less than 1e-9 after ten steps. In float32 rounding errors exceed 1e-6 from
the first step on: a bias that a batch norm cancels has a gradient of nothing else, which Adam divides by its own size.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from tiny import tiny_config

from sagan_jax.data.batch import Batch
from sagan_jax.models.latent_prior import LatentPrior
from sagan_jax.runtime.randomness import fold_in_name
from sagan_jax.training import networks
from sagan_jax.training.state import create_state
from sagan_jax.training.step import train_step
from sagan_jax.training.step_config import build_step_config

pytestmark = pytest.mark.usefixtures("float64")

STEPS, UPDATES, BATCH, CLASSES = 10, 2, 4, 3
TOLERANCE = 1e-7


def relu(x):
    return jnp.where(x > 0, x, 0)


def conv(x, layer):
    y = jax.lax.conv_general_dilated(x, layer["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y + layer.get("bias", 0)


def dense(x, layer):
    return x @ layer["kernel"] + layer["bias"]


def upsample(x):
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def pool(reduce, x):
    return reduce(jnp.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]), axis=0)


def batch_norm(x, layer, labels=None):
    """Returns x normalised, scaled and shifted, per class if given labels; and the moments of the batch."""
    mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    scale, bias = layer["scale"], layer["bias"]
    if labels is not None:
        scale, bias = scale[labels][:, None, None], bias[labels][:, None, None]
    return scale * (x - mean) / jnp.sqrt(var + 1e-5) + bias, {"mean": mean, "var": var}


def attention(x, layer):
    """Computes equations 1 to 3 of the paper, with keys and values max-pooled as in the authors' code."""
    batch, height, width, channels = x.shape
    f = conv(x, layer["query"]).reshape(batch, -1, channels // 8)
    g = pool(jnp.max, conv(x, layer["key"])).reshape(batch, -1, channels // 8)
    h = pool(jnp.max, conv(x, layer["value"])).reshape(batch, -1, channels // 2)
    exp = jnp.exp(f @ g.swapaxes(1, 2))
    beta = exp / exp.sum(axis=-1, keepdims=True)
    return x + layer["gamma"] * conv((beta @ h).reshape(batch, height, width, -1), layer["output"])


def generator(weights, latents, labels):
    """Returns images [B, 16, 16, 3], and the moments in each batch norm; `weights` are `normalized`."""
    x, moments = dense(latents, weights["dense"]).reshape(len(latents), 4, 4, -1), {}
    for name in ("block_8", "block_16"):
        block, shortcut = weights[name], x
        x, first = batch_norm(x, block["norm_0"], labels)
        x = conv(upsample(relu(x)), block["conv_0"])
        x, second = batch_norm(x, block["norm_1"], labels)
        x = conv(relu(x), block["conv_1"]) + conv(upsample(shortcut), block["shortcut"])
        moments[name] = {"norm_0": first, "norm_1": second}
        if name == "block_8":
            x = attention(x, weights["attention_8"])
    x, moments["norm"] = batch_norm(x, weights["norm"])
    return jnp.tanh(conv(relu(x), weights["to_image"])), moments


def discriminator(weights, images, labels, shortcut=lambda x: x):
    """Returns logits [B]."""
    first, second, third = (weights[f"block_{i}"] for i in range(3))
    x = conv(relu(conv(images, first["conv_0"])), first["conv_1"])
    x = pool(jnp.mean, x + conv(images, first["shortcut"]))
    x = attention(x, weights["attention_8"])
    y = conv(relu(conv(relu(x), second["conv_0"])), second["conv_1"])
    x = pool(jnp.mean, y + conv(shortcut(x), second["shortcut"]))
    x = conv(relu(conv(relu(x), third["conv_0"])), third["conv_1"]) + shortcut(x)
    features = relu(x).sum(axis=(1, 2))
    return dense(features, weights["logit"])[:, 0] + (features * weights["embedding"]["kernel"][labels]).sum(axis=-1)


def normalized(params, spectral_stats, moving, constant=jax.lax.stop_gradient):
    """Divides every kernel of a network by sigma = v^T W u, where u and v are constant in the gradient.

    In an update of this network u is `moving` by one step of the power iteration (Miyato et al. 2018, algorithm 1). In
    one of the other network u stays, and sigma is |W u|. Returns the weights, and u and sigma.
    """
    if "kernel" not in params:
        children = {name: normalized(params[name], child, moving, constant) for name, child in spectral_stats.items()}
        weights, moved = ({name: pair[i] for name, pair in children.items()} for i in (0, 1))
        return params | weights, moved
    matrix, u = params["kernel"].reshape(-1, params["kernel"].shape[-1]), spectral_stats["u"]
    v = matrix @ u
    v = v / jnp.sqrt(v @ v)
    if moving:
        u = v @ matrix
        u = u / jnp.sqrt(u @ u)
    sigma = constant(v) @ matrix @ constant(u)
    return params | {"kernel": params["kernel"] / sigma}, {"u": u, "sigma": sigma}


def fake_images(g, drawn):
    """Returns images of latents and labels for an update of the discriminator; nothing of the generator changes."""
    return generator(normalized(g["params"], g["spectral_stats"], moving=False)[0], *drawn)[0]


def discriminator_update(d, real, fake, count, shortcut=lambda x: x, constant=jax.lax.stop_gradient):
    """Returns the discriminator after its update number `count`, and its hinge loss; images come with their labels."""

    def loss_of(params):
        weights, spectral_stats = normalized(params, d["spectral_stats"], moving=True, constant=constant)
        real_logits, fake_logits = (discriminator(weights, *images, shortcut) for images in (real, fake))
        return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean(), spectral_stats

    (loss, spectral_stats), gradients = jax.value_and_grad(loss_of, has_aux=True)(d["params"])
    return adam(d, gradients, count, 3.2e-3) | {"spectral_stats": spectral_stats}, loss


def generator_update(g, d, drawn, count):
    """Returns the generator after its update number `count`, and its loss."""
    d_weights, _ = normalized(d["params"], d["spectral_stats"], moving=False)

    def loss_of(params):
        weights, spectral_stats = normalized(params, g["spectral_stats"], moving=True)
        images, moments = generator(weights, *drawn)
        return -discriminator(d_weights, images, drawn[1]).mean(), (spectral_stats, moments)

    (loss, (spectral_stats, moments)), gradients = jax.value_and_grad(loss_of, has_aux=True)(g["params"])
    batch_stats = jax.tree.map(lambda old, new: 0.999 * old + 0.001 * new, g["batch_stats"], moments)
    return adam(g, gradients, count, 8e-4) | {"spectral_stats": spectral_stats, "batch_stats": batch_stats}, loss


def adam(network, gradients, count, rate):
    """Updates with beta1 = 0, beta2 = 0.999 and epsilon = 1e-8 (Kingma & Ba 2015, algorithm 1)."""
    squares = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, network["squares"], gradients)
    unbiased = jax.tree.map(lambda v: v / (1 - 0.999**count), squares)
    params = jax.tree.map(lambda p, g, v: p - rate * g / (v**0.5 + 1e-8), network["params"], gradients, unbiased)
    return network | {"params": params, "gradients": gradients, "squares": squares}


def discriminator_updates(update, d, generate, g, step):
    """Returns the discriminator after the updates of a step, each on batches of its own, and their mean loss."""
    losses = []
    for i, (pixels, labels) in enumerate(zip(*real_batch(step), strict=True)):
        drawn = latents_and_labels(step)[i]
        d, loss = update(d, (pixels / 127.5 - 1, labels), (generate(g, drawn), drawn[1]), step * UPDATES + i + 1.0)
        losses.append(loss)
    return d, sum(losses) / UPDATES


def reference_states(state):
    """Yields the state after each step."""
    update_d, generate, update_g = map(jax.jit, (discriminator_update, fake_images, generator_update))
    g, d, average = state["generator"], state["discriminator"], state["average"]
    for step in range(STEPS):
        d, d_loss = discriminator_updates(update_d, d, generate, g, step)
        g, g_loss = update_g(g, d, latents_and_labels(step)[-1], step + 1.0)
        averaged = max(step - 1, 0)  # the average begins after two steps
        decay = min(averaged / (averaged + 9), 0.3)
        average = jax.tree.map(lambda a, p, k=decay: k * a + (1 - k) * np.asarray(p), average, g["params"])
        yield {"generator": g, "discriminator": d, "average": average, "d_loss": d_loss, "g_loss": g_loss}


def tiny_step_config():
    config = tiny_config()
    config.model.num_classes = CLASSES
    config.model.generator.multipliers, config.model.discriminator.multipliers = (2, 4, 1), (4, 2, 2)
    config.train.update(discriminator_updates=UPDATES, ema_start_step=2, ema_decay=0.3)
    return build_step_config(config)


def initial_state(step_config):
    """Returns random numbers in place of the usual start: attention is open, classes differ, and no u has converged."""
    create = functools.partial(create_state, step_config.networks, step_config.optimizers, step_config.prior, ())
    random = np.random.default_rng(0)

    def drawn(path, x):
        zero = any(name in jax.tree_util.keystr(path) for name in (".step", ".opt_state"))
        return np.zeros(x.shape, x.dtype) if zero else random.normal(0, 0.5, x.shape)

    return jax.tree_util.tree_map_with_path(drawn, jax.eval_shape(create, jax.random.key(0)))


def real_batch(step):
    random = np.random.default_rng(step)
    images = random.integers(0, 256, (UPDATES, BATCH, 16, 16, 3), np.uint8)
    return Batch(images, random.integers(0, CLASSES, (UPDATES, BATCH), np.int32))


def latents_and_labels(step):
    """Returns those of each discriminator update and of the generator update, drawn as `train_step` draws them."""
    key = jax.random.fold_in(jax.random.key(1), step)
    keys = [jax.random.split(key)[1] for key in jax.random.split(fold_in_name(key, "discriminator"), UPDATES)]
    return [LatentPrior(8, CLASSES).draw(BATCH, key) for key in (*keys, fold_in_name(key, "generator"))]


def as_dict(state, metrics):
    """Returns a `TrainState` in the form of the reference's."""
    trees = {"average": state.ema_params} | {name: metrics.get(name) for name in ("d_loss", "g_loss")}
    for name in ("generator", "discriminator"):
        network = getattr(state, name)
        trees[name] = network.variables | {"gradients": network.opt_state[0].mu, "squares": network.opt_state[0].nu}
    return trees


def largest_difference(found, expected):
    """Returns the largest, as a fraction of the largest value in its array, or of 1e-6 where that is more."""
    found, expected = flatten_dict(jax.device_get(found)), flatten_dict(jax.device_get(expected))
    assert set(found) == set(expected)
    return np.max([np.abs(found[name] - x).max() / max(np.abs(x).max(), 1e-6) for name, x in expected.items()])


@pytest.fixture(scope="module")
def float64():
    """Makes float64 of all that the package calls float32; and lets the reference broadcast as in textbooks."""
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(jnp, "float32", jnp.float64)
        patch.setitem(networks.DTYPES, "float32", jnp.float64)
        yield


@pytest.fixture(scope="module")
def runs(float64):
    """The start, and the states after each step of the package and of the reference."""
    step_config = tiny_step_config()
    state, step, ours = initial_state(step_config), jax.jit(functools.partial(train_step, step_config)), []
    start = as_dict(state, {})
    for number in range(STEPS):
        state, metrics = step(state, real_batch(number), jax.random.key(1))
        ours.append(as_dict(state, metrics))
    return start, ours, list(reference_states(start))


@pytest.mark.parametrize("steps", [1, STEPS])
def test_every_array_is_that_of_the_reference(runs, steps):
    _, ours, reference = runs
    assert largest_difference(ours[steps - 1], reference[steps - 1]) < TOLERANCE


SLIPS = {"shortcuts see ReLU(x)": {"shortcut": relu}, "u and v have gradients": {"constant": lambda vector: vector}}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_the_reference_would_show(runs, slip):
    start, ours, _ = runs
    update = jax.jit(functools.partial(discriminator_update, **SLIPS[slip]))
    found, _ = discriminator_updates(update, start["discriminator"], jax.jit(fake_images), start["generator"], 0)
    assert largest_difference(found["params"], ours[0]["discriminator"]["params"]) > 100 * TOLERANCE


def test_a_power_iteration_too_many_would_show(runs):
    """Such as one of the discriminator in the generator's update."""
    found = jax.device_get(runs[1][0]["discriminator"])
    _, moved = normalized(found["params"], found["spectral_stats"], moving=True)
    assert largest_difference(moved, found["spectral_stats"]) > 100 * TOLERANCE
