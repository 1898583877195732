"""What the networks and their builders answer to wrong input: a ValueError of one sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagan_jax import build_discriminator, build_generator
from sagan_jax.models.conditioning import HierarchicalLatents

pytestmark = pytest.mark.usefixtures("strict_dtypes")

SIZE = {"channels": 1, "attention_resolutions": (8,)}
LABELS, LATENTS, IMAGES = jnp.zeros(2, jnp.int32), jnp.zeros((2, 8)), jnp.zeros((2, 16, 16, 3))
CALLS = {
    "latent of another length": ("generator", (jnp.zeros((2, 9)), LABELS), "latents have the length 9, but .* with 8"),
    "one latent": ("generator", (jnp.zeros(8), LABELS), r"latents are float32 \[8\]: give a floating point array"),
    "integer latents": ("generator", (jnp.zeros((2, 8), jnp.int32), LABELS), r"latents are int32 \[2, 8\]"),
    "list": ("generator", ([[0.0] * 8] * 2, LABELS), "latents are no array but list"),
    "missing labels": ("generator", (LATENTS,), "labels are missing: this network has 3 classes"),
    "float labels": ("generator", (LATENTS, jnp.zeros(2)), r"labels are float32 \[2\]: give integers \[2\]"),
    "one-hot labels": ("generator", (LATENTS, jnp.zeros((2, 3), jnp.int32)), r"labels are int32 \[2, 3\]"),
    "too few labels": ("discriminator", (IMAGES, LABELS[:1]), r"labels are int32 \[1\]: give integers \[2\]"),
    "uint8": ("discriminator", (np.zeros((2, 16, 16, 3), np.uint8), LABELS), r"images are uint8: .* 127.5 - 1"),
    "channels first": ("discriminator", (jnp.zeros((2, 3, 16, 16)), LABELS), r"\[2, 3, 16, 16\], channels first"),
    "another size": ("discriminator", (jnp.zeros((2, 32, 32, 3)), LABELS), r"takes floating point \[B, 16, 16, 3\]"),
    "grey": ("discriminator", (jnp.zeros((2, 16, 16, 1)), LABELS), r"images are float32 \[2, 16, 16, 1\]"),
    "one image": ("discriminator", (jnp.zeros((16, 16, 3)), LABELS), r"images are float32 \[16, 16, 3\]"),
}


@pytest.fixture(scope="module")
def networks():
    """Each module with its variables and the options of its calls."""
    generator, discriminator = (build(16, num_classes=3, **SIZE) for build in (build_generator, build_discriminator))
    of_generator = jax.jit(lambda: generator.init(jax.random.key(0), LATENTS, LABELS, train=True))()
    of_discriminator = jax.jit(lambda: discriminator.init(jax.random.key(0), IMAGES, LABELS))()
    return {
        "generator": (generator, of_generator, {"train": False}),
        "discriminator": (discriminator, of_discriminator, {}),
    }


@pytest.mark.parametrize("case", CALLS)
def test_a_wrong_call_is_answered_with_one_sentence(case, networks):
    network, arguments, message = CALLS[case]
    module, variables, options = networks[network]
    with pytest.raises(ValueError, match=message) as caught:
        module.apply(variables, *arguments, **options)
    assert "\n" not in str(caught.value).partition("\n---")[0]  # Flax and JAX may add notes below


def test_init_returns_these_collections_and_no_attention_maps(networks):
    assert set(networks["generator"][1]) == {"params", "spectral_stats", "batch_stats"}
    assert set(networks["discriminator"][1]) == {"params", "spectral_stats"}


def test_unconditional_networks_need_no_labels():
    generator, discriminator = build_generator(16, **SIZE), build_discriminator(16, **SIZE)
    shapes = jax.eval_shape(lambda: generator.init_with_output(jax.random.key(0), LATENTS, train=True)[0])
    assert shapes.shape == (2, 16, 16, 3)
    assert jax.eval_shape(lambda: discriminator.init_with_output(jax.random.key(0), IMAGES)[0]).shape == (2,)


def test_latents_too_short_to_be_cut_are_refused():
    generator = build_generator(16, num_classes=3, conditioning=HierarchicalLatents, **SIZE)
    with pytest.raises(ValueError, match="latents of length 2 cannot be cut into 3 pieces"):
        jax.eval_shape(lambda: generator.init(jax.random.key(0), LATENTS[:, :2], LABELS, train=True))


BUILDS = {
    "resolution": (build_generator, {"resolution": 60}, "resolution = 60 is impossible: it must be a power of two"),
    "channels": (build_discriminator, {"resolution": 16, "channels": 0}, "channels = 0 with multipliers"),
    "places": (build_generator, {"resolution": 16}, r"attention_resolutions = \(32,\) asks for 32 px"),
    "no tuple": (build_generator, {"resolution": 32, "attention_resolutions": 32}, "= 32 is no tuple of resolutions"),
    "multipliers": (
        build_generator,
        {"resolution": 32, "multipliers": (2, 1)},
        r"multipliers = \(2, 1\) has 2 entries",
    ),
    "final": (build_discriminator, {"resolution": 32, "final_resolution": 5}, "final_resolution = 5 cannot be reached"),
    "classes": (build_generator, {"resolution": 32, "num_classes": -1}, "num_classes = -1 is impossible"),
}


@pytest.mark.parametrize("case", BUILDS)
def test_a_builder_names_the_argument(case):
    build, arguments, message = BUILDS[case]
    with pytest.raises(ValueError, match=message):
        build(**arguments)
