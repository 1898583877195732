"""What is spectrally normalised in the generator: its kernels, its class tables too, or nothing."""

import functools

import flax
import jax
import numpy as np
import pytest
from tiny import Trainer, applied, tiny_config

from sagan_jax.errors import InputError
from sagan_jax.models.plain import plain_network, plain_params
from sagan_jax.models.spectral_norm import as_matrix
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.sampling.sampler import Sampler
from sagan_jax.training.networks import NORMALIZED


@functools.cache
def trained(variant):
    """A trainer and its state after two steps."""
    config = tiny_config()
    config.model.generator.spectral_norm = variant
    trainer = Trainer(config)
    return trainer, trainer.run(trainer.fresh_state(), 2)[0]


def converged(module, variables, latents, labels):
    """Variables whose power iteration has followed the weights until it stood still."""
    move = jax.jit(lambda v: module.apply(v, latents, labels, train=False, mutable=["spectral_stats"])[1])
    for _ in range(200):
        variables = variables | move(variables)
    return variables


def plain_weights(variant):
    trainer, state = trained(variant)
    return plain_params(trainer.step_config.networks.generator, state.generator.params)


def singular_values(params):
    """Largest ones of all that has two dimensions or more, by name."""
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    return {name: np.linalg.norm(as_matrix(x), 2) for name, x in flat.items() if x.ndim > 1}


@pytest.mark.parametrize("variant", NORMALIZED)
def test_samples_are_those_of_the_network_that_learned(variant):
    trainer, state = trained(variant)
    step_config = trainer.step_config
    latents, labels = step_config.prior.draw(4, jax.random.key(0))
    learned, plain = step_config.networks.generator, plain_network(step_config.networks.generator)
    variables = converged(learned, state.generator.variables | {"params": state.ema_params}, latents, labels)
    stats = {"batch_stats": state.generator.batch_stats}
    expected = applied(learned, variables, latents, labels, train=False)
    found = applied(plain, {"params": plain_params(learned, state.ema_params)} | stats, latents, labels, train=False)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    sampler = Sampler(learned, step_config.prior, make_mesh(jax.devices()[:1]), batch_size=16, standing_batches=1)
    variables = sampler.freeze(state.ema_params, 0)
    images = sampler.images(variables, np.asarray(latents), np.asarray(labels))
    assert images.shape == (4, 16, 16, 3)
    assert images.std() > 0


def test_only_what_is_asked_for_has_singular_values():
    kernels = singular_values(plain_weights("kernels"))
    tables = {name: value for name, value in kernels.items() if name.split("/")[-1] in ("scale", "bias")}
    np.testing.assert_allclose([kernels[name] for name in kernels.keys() - tables.keys()], 1, rtol=1e-4)
    assert tables["block_8/norm_0/scale"] > 2  # ten classes of gains that are nearly 1

    both = plain_weights("kernels and class tables")
    both["block_8"]["norm_0"]["scale"] -= 1
    np.testing.assert_allclose(singular_values(both)["block_8/norm_0/scale"], 1, rtol=1e-4)
    np.testing.assert_allclose(singular_values(both)["block_8/norm_0/bias"], 1, rtol=1e-4)

    _, state = trained("nothing")
    assert state.generator.spectral_stats == {}
    assert state.discriminator.spectral_stats
    free = singular_values(plain_weights("nothing"))
    assert free == singular_values(state.generator.params)
    assert free["dense/kernel"] > 1.2


def test_the_spectral_norm_caps_how_far_apart_classes_can_be():
    """The root mean square of a class's gains less 1 is at most 1 over the root of their number."""
    gains = np.asarray(plain_weights("kernels and class tables")["block_8"]["norm_0"]["scale"])
    assert np.sqrt(np.mean((gains - 1) ** 2, axis=1)).max() <= gains.shape[1] ** -0.5 * (1 + 1e-4)


def test_another_word_is_answered_with_those_that_exist():
    config = tiny_config()
    config.model.generator.spectral_norm = "everything"
    with pytest.raises(InputError, match="'everything' is unknown: choose one of kernels, kernels and class tables"):
        Trainer(config)
