"""Golden parameter counts, and the networks of every size."""

import itertools

import jax
import jax.numpy as jnp
import pytest

from sagan_jax.config import load_config
from sagan_jax.errors import InputError
from sagan_jax.models.architecture import STANDARD_MULTIPLIERS, discriminator_architecture, generator_architecture
from sagan_jax.models.between_blocks import LocalBlock
from sagan_jax.models.discriminator import Discriminator
from sagan_jax.models.generator import Generator
from sagan_jax.models.layers import LayerConfig
from sagan_jax.training.networks import build_networks

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def shapes(module, *inputs, **options):
    return jax.eval_shape(lambda key: module.init_with_output(key, *inputs, **options), jax.random.key(0))


def generator_shapes(architecture, num_classes=10):
    labels = jnp.zeros((2,), jnp.int32)
    return shapes(Generator(architecture, num_classes), jnp.zeros((2, 128)), labels, train=True)


def discriminator_shapes(architecture, resolution, num_classes=10):
    images = jnp.zeros((2, resolution, resolution, 3))
    return shapes(Discriminator(architecture, num_classes), images, jnp.zeros((2,), jnp.int32))


def count(variables):
    return sum(x.size for x in jax.tree.leaves(variables["params"]))


def conv(kernel, c_in, c_out):
    return kernel * kernel * c_in * c_out + c_out


def attention(c):
    return 2 * c * (c // 8) + 2 * c * (c // 2) + 1


def test_generator_of_the_authors_has_as_many_parameters_as_its_layer_list():
    widths, classes = (1024, 1024, 512, 256, 128, 64), 1000
    blocks = [
        2 * classes * a + conv(3, a, b) + 2 * classes * b + conv(3, b, b) + conv(1, a, b)
        for a, b in itertools.pairwise(widths)
    ]
    total = 129 * 16 * 1024 + sum(blocks) + attention(256) + 2 * 64 + conv(3, 64, 3)
    _, variables = generator_shapes(generator_architecture(128, 64, (), (32,)), classes)
    assert count(variables) == total == 42_078_852


def test_discriminator_of_the_authors_has_as_many_parameters_as_its_layer_list():
    widths, classes = (3, 64, 128, 256, 512, 1024), 1000
    blocks = [conv(3, a, b) + conv(3, b, b) + conv(1, a, b) for a, b in itertools.pairwise(widths)]
    last = 2 * conv(3, 1024, 1024)  # neither smaller nor wider, so the shortcut has no weights
    total = sum(blocks) + last + attention(128) + 1025 + classes * 1024
    _, variables = discriminator_shapes(discriminator_architecture(128, 64, (), (32,)), 128, classes)
    assert count(variables) == total == 39_463_618


def test_cifar_pair():
    _, generator = generator_shapes(generator_architecture(32, 256, (1, 1, 1, 1), (16,)))
    architecture = discriminator_architecture(32, 128, (1, 1, 1, 1), (16,), final_resolution=8)
    _, discriminator = discriminator_shapes(architecture, 32)
    assert architecture.resolutions == (16, 8, 8, 8)
    assert (count(generator), count(discriminator)) == (4_386_308, 1_075_586)


def configured_counts(config):
    config.model.compute_dtype = "float32"  # others promote implicitly
    generator, discriminator = build_networks(config)
    labels = jnp.zeros((1,), jnp.int32)
    _, first = shapes(generator, jnp.zeros((1, config.model.latent_size)), labels, train=True)
    _, second = shapes(discriminator, jnp.zeros((1, 128, 128, 3)), labels)
    return count(first), count(second)


def test_biggan_has_the_parameters_of_the_paper():
    """70.4 and 88.0 million (Brock et al. 2018, appendix B)."""
    assert configured_counts(load_config("biggan128")) == (70_433_988, 87_982_370)


def test_biggan_deep_has_the_parameters_of_the_paper():
    """50.4 and 34.6 million (Brock et al. 2018, appendix B).

    The last convolution of the authors' generator may have 128 outputs, of which three are used (BigGANdeep.py of
    BigGAN-PyTorch): with these ours would have 50.4 million as well.
    """
    config = load_config("biggan128")
    config.model.update(blocks="bottleneck", latent_size=128)
    config.model.generator.update(channels=128, conditioning="whole latents")
    config.model.discriminator.update(channels=128, multipliers=(2, 4, 8, 16, 16))
    assert configured_counts(config) == (50_244_484, 34_590_210)


@pytest.mark.parametrize("resolution", STANDARD_MULTIPLIERS)
@pytest.mark.parametrize("num_classes", [0, 3])
def test_every_resolution_builds(resolution, num_classes):
    attended = (8, resolution // 2)
    images, variables = generator_shapes(generator_architecture(resolution, 4, (), attended), num_classes)
    assert images.shape == (2, resolution, resolution, 3)
    assert {f"attention_{side}" for side in attended} <= set(variables["params"])
    architecture = discriminator_architecture(resolution, 4, (), attended)
    logits, variables = discriminator_shapes(architecture, resolution, num_classes)
    assert (logits.shape, logits.dtype) == ((2,), jnp.float32)
    assert {f"attention_{side}" for side in attended} <= set(variables["params"])
    assert ("embedding" in variables["params"]) == bool(num_classes)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: generator_architecture(100, 64), ["resolution = 100", "power of two"]),
        (lambda: generator_architecture(1024, 64), ["resolution = 1024", "512"]),
        (
            lambda: generator_architecture(64, 64, (), (128,)),
            ["attention_resolutions = (128,)", "8, 16, 32, 64"],
        ),
        (
            lambda: generator_architecture(64, 64, (), (), (4,)),
            ["local_block_resolutions = (4,)", "8, 16, 32, 64"],
        ),
        (lambda: generator_architecture(64, 64, (4, 2, 1)), ["multipliers = (4, 2, 1)", "3 entries", "needs 5"]),
        (lambda: generator_architecture(64, 0), ["channels = 0"]),
        (lambda: discriminator_architecture(64, 64, (), (64,)), ["attention_resolutions = (64,)", "4, 8, 16, 32"]),
        (lambda: discriminator_architecture(64, 64, (), (), 3), ["final_resolution = 3", "4, 8, 16, 32"]),
        (lambda: discriminator_architecture(64, 64, (1, 2)), ["multipliers = (1, 2)", "at least 4"]),
    ],
)
def test_impossible_networks_are_refused_in_one_sentence(build, words):
    with pytest.raises(InputError) as error:
        build()
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("channels", [32, 64, 128, 256])
def test_a_local_block_has_as_many_parameters_as_attention(channels):
    x = jnp.zeros((1, 16, 16, channels))
    _, variables = shapes(LocalBlock(LayerConfig()), x)
    assert count(variables) == pytest.approx(attention(channels), rel=0.15)


def test_a_local_block_stands_where_attention_would():
    _, variables = generator_shapes(generator_architecture(32, 16, (), (), (16,)))
    assert {name for name in variables["params"] if "_16" in name} == {"block_16", "local_block_16"}
    architecture = discriminator_architecture(32, 16, (), (), 8, (16,))
    _, variables = discriminator_shapes(architecture, 32)
    assert "local_block_16" in variables["params"]
    assert not any("attention" in name for name in variables["params"])


def test_a_local_block_begins_as_the_identity_and_sees_five_by_five_positions():
    x = jax.random.normal(jax.random.key(0), (8, 16, 16, 32))
    block = LocalBlock(LayerConfig(spectral_norm=()))
    params = block.init(jax.random.key(1), x)["params"]
    assert (block.apply({"params": params}, x) == x).all()
    opened = {"params": params | {"gamma": jnp.ones(())}}
    seen = jax.grad(lambda x: jnp.sum(jnp.square(block.apply(opened, x)[:, 8, 8])))(x)
    rows, columns = jnp.nonzero(jnp.abs(seen).max(axis=(0, 3)))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 10, 6, 10)


def test_a_config_names_the_fields_of_impossible_networks():
    for changes, words in (
        ({"data.resolution": 100}, "data.resolution = 100"),
        ({"model.generator.attention": (4,)}, "model.generator.attention = (4,)"),
        ({"model.discriminator.local_block": (128,)}, "model.discriminator.local_block = (128,)"),
        ({"model.discriminator.final_resolution": 3}, "model.discriminator.final_resolution = 3"),
        ({"model.generator.channels": 0}, "model.generator.channels = 0"),
    ):
        config = load_config("folder128").copy_and_resolve_references()
        config.update_from_flattened_dict(changes)
        with pytest.raises(InputError) as error:
            build_networks(config)
        assert str(error.value).startswith(words)
