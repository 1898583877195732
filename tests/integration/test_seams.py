"""What researchers add without touching the package, each in at most 25 lines; and `train_and_evaluate` as a call."""

import inspect
import threading

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import tiny_config

import sagan_jax
from sagan_jax.errors import InputError
from sagan_jax.models.conditioning import SharedEmbedding
from sagan_jax.models.layers import Conv, Dense, Embedding, LayerConfig
from sagan_jax.objectives.losses import LOSSES
from sagan_jax.portable.folder import save_model

SIZE = {"channels": 2, "num_classes": 10, "attention_resolutions": (8,)}


# A gradient penalty on real images (R1, Mescheder et al. 2018), every other update.
def r1(inputs, weight=10.0):
    def penalty():
        def total(images):
            return inputs.discriminate(images, inputs.real_labels).sum()

        gradients = jax.grad(total)(inputs.real_images)
        return weight / 2 * jnp.mean(jnp.sum(jnp.square(gradients), axis=(1, 2, 3)))

    return jax.lax.cond(inputs.number % 2 == 0, penalty, lambda: jnp.zeros(()))


# A relativistic average loss (Jolicoeur-Martineau 2018), for which the generator's loss needs real images.
def relative(first, second):
    return jnp.mean(jax.nn.softplus(jnp.mean(second) - first)) + jnp.mean(jax.nn.softplus(second - jnp.mean(first)))


RELATIVISTIC = sagan_jax.AdversarialLoss(
    discriminator=relative, generator=lambda fake_logits, real_logits: relative(fake_logits, real_logits())
)


class MultiHeadAttention(nn.Module):
    """Two heads over all positions, scores scaled, in the place of SelfAttention."""

    config: LayerConfig
    heads: int = 2

    @nn.compact
    def __call__(self, x):
        batch, height, width, channels = x.shape
        shape = (batch, height * width, self.heads, -1)
        narrow = self.heads * max(1, channels // 8)
        query, key, value = (
            Conv(features, 1, self.config, name=name)(x).reshape(shape)
            for name, features in (("query", narrow), ("key", narrow), ("value", channels))
        )
        scores = jnp.einsum("blhk,bmhk->bhlm", query, key) / query.shape[-1] ** 0.5
        weights = jax.nn.softmax(scores.astype(jnp.float32)).astype(value.dtype)
        attended = jnp.einsum("bhlm,bmhv->blhv", weights, value).reshape(x.shape)
        gamma = self.param("gamma", nn.initializers.zeros, ())
        return (x + gamma.astype(x.dtype) * Conv(channels, 1, self.config, name="output")(attended)).astype(x.dtype)


class Tracker:
    """Stands for an experiment tracker: keeps what it is given."""

    def __init__(self):
        self.rows, self.pictures, self.histograms, self.texts, self.closed = {}, {}, {}, {}, False

    def write_scalars(self, step, scalars):
        self.rows.setdefault(step, {}).update(scalars)

    def write_images(self, step, images):
        self.pictures |= {(step, kind): image.shape for kind, image in images.items()}

    def write_histograms(self, step, arrays):
        self.histograms |= {name: array.shape for name, array in arrays.items()}

    def write_texts(self, step, texts):
        self.texts |= texts

    def close(self):
        self.closed = True


def test_each_addition_is_short():
    for addition in (r1, relative, MultiHeadAttention, Tracker):
        assert len(inspect.getsource(addition).splitlines()) <= 25


def networks(**more):
    return sagan_jax.Networks(
        sagan_jax.build_generator(16, **SIZE, **more), sagan_jax.build_discriminator(16, **SIZE, **more)
    )


def colours(count=64):
    """Images of one colour, three classes."""
    labels = np.arange(count, dtype=np.int32) % 3
    images = np.zeros((count, 16, 16, 3), np.uint8)
    images[np.arange(count), :, :, labels] = 200
    return sagan_jax.ArrayImages("colours", images, labels, ("red", "green", "blue"))


def test_penalty_loss_attention_and_writer_together(tmp_path):
    """One run with all four, then on from its checkpoint, from a thread; and the model opened for sampling."""
    config, tracker, pair = tiny_config(), Tracker(), networks(attention=MultiHeadAttention)
    config.train.update(steps=2)
    config.data.holdout = 100
    config.log.update(every_steps=1, pictures_every_steps=2)
    parts = {"networks": pair, "loss": RELATIVISTIC, "penalties": [sagan_jax.Penalty("r1", discriminator=r1)]}
    state, summary = sagan_jax.train_and_evaluate(config, tmp_path / "run", writers=[tracker], **parts)
    assert (int(state.step), summary.step) == (2, 2)
    assert summary.samples.exists()
    assert tracker.rows[2]["d_r1"] == 0  # the second update of the discriminator
    assert {"d_real_accuracy_training", "d_real_accuracy_held_out", "gradient_ratio", "g_learning_rate"} <= (
        tracker.rows[1].keys()
    )
    assert tracker.rows[2]["sample_spread"] > 0
    assert tracker.histograms == {
        "logits/training": (256,),
        "logits/held_out": (100,),
        "logits/generated": (config.log.sheet_classes * config.log.sheet_columns,),
    }
    assert {"config"} <= tracker.texts.keys()
    assert (2, "samples") in tracker.pictures
    assert tracker.closed
    assert "output" in state.discriminator.spectral_stats["attention_8"]

    config.train.steps = 3
    again = Tracker()
    results = []
    thread = threading.Thread(
        target=lambda: results.append(sagan_jax.train_and_evaluate(config, tmp_path / "run", writers=[again], **parts))
    )
    thread.start()
    thread.join()
    ((state, _),) = results
    assert int(state.step) == 3
    assert again.rows[3]["d_r1"] > 0
    assert again.rows[3].keys() >= {"g_loss", "d_loss"}

    model = sagan_jax.load(tmp_path / "run", networks=pair)
    assert model.sample(["3"], num=2).shape == (2, 16, 16, 3)
    with pytest.raises(InputError, match=r"the arrays in checkpoint 3 of .* are not those of the networks"):
        sagan_jax.load(tmp_path / "run")
    with pytest.raises(InputError, match=r"pass the modules that it was trained with as networks="):
        sagan_jax.train_and_evaluate(config, tmp_path / "run")


def test_a_source_of_ones_own(tmp_path):
    config = tiny_config()
    config.model.num_classes = -1
    config.train.steps = 1
    state, _ = sagan_jax.train_and_evaluate(config, str(tmp_path), source=colours())
    assert state.generator.params["block_8"]["norm_0"]["scale"].shape[0] == 3
    assert sagan_jax.load(tmp_path).class_names == ("red", "green", "blue")


WRONG = {
    "source": ({"source": object()}, "source = object: it has no"),
    "float images": (
        {"source": sagan_jax.ArrayImages("floats", np.zeros((4, 16, 16, 3), np.float32))},
        "source = ArrayImages: .*float32",
    ),
    "networks": (
        {"networks": sagan_jax.Networks(Dense(1, LayerConfig()), None)},
        "networks.generator is a Dense, which has no arch",
    ),
    "classes": ({"networks": networks(), "source": colours()}, "networks.generator is for 16 px and 10 classes"),
    "penalties": ({"penalties": [r1]}, "penalties = .* must be sagan_jax.Penalty"),
    "twice": ({"penalties": [sagan_jax.Penalty("r1"), sagan_jax.Penalty("r1")]}, "each with a name of its own"),
    "loss": ({"loss": r1}, "loss = .* must be a sagan_jax.AdversarialLoss"),
    "writers": ({"writers": [object()]}, r"writers\[0\] = .* no object with a method write_scalars"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_part_that_cannot_be_used_is_refused_before_anything_is_made(case, tmp_path):
    parts, message = WRONG[case]
    config = tiny_config()
    config.model.num_classes = -1
    with pytest.raises(ValueError, match=message):
        sagan_jax.train_and_evaluate(config, tmp_path / "run", **parts)
    assert not list(tmp_path.glob("run/*.json"))


def test_a_penalty_with_the_name_of_a_configured_one_is_refused(tmp_path):
    config = tiny_config()
    config.train.penalties = "r1:1"
    with pytest.raises(InputError, match="penalties = .* with a name of its own that train.penalties has not"):
        sagan_jax.train_and_evaluate(config, tmp_path / "run", penalties=[sagan_jax.Penalty("r1", discriminator=r1)])


def statistic(name):
    return sagan_jax.RunningStatistic(name, 0.0, lambda value, metrics: value)


TOGETHER = {
    "same name": (("a", {"running": (statistic("mean"),)}), ("b", {"running": (statistic("mean"),)})),
    "metric": (("a", {"running": (statistic("d_loss"),)}),),
    "adaptive": (("a", {"running": (statistic("augmentation_probability"),)}),),
    "latents": (("a", {"latent_noise": 0.1}), ("b", {"latent_noise": 0.2})),
}
WORDS = {
    "same name": "have different running statistics of the same name",
    "metric": "have a running statistic with the name of a metric, d_loss",
    "adaptive": "have a running statistic with the name of a metric, augmentation_probability",
    "latents": "have different latent_noise, 0.1 and 0.2",
}


@pytest.mark.parametrize("case", TOGETHER)
def test_penalties_that_do_not_go_together_are_refused(case, tmp_path):
    penalties = [sagan_jax.Penalty(name, **options) for name, options in TOGETHER[case]]
    with pytest.raises(InputError, match=f"penalties = .* {WORDS[case]}"):
        sagan_jax.train_and_evaluate(tiny_config(), tmp_path / "run", penalties=penalties)


def test_losses_that_do_not_ask_for_real_images_do_not_compute_their_logits():
    asked = []

    def real_logits():
        asked.append(1)
        return jnp.zeros(2)

    for name, loss in LOSSES.items():
        loss.generator(jnp.zeros(2), real_logits)
        assert bool(asked) == (name == "relativistic")
        asked.clear()


VARIANTS = {
    "shared embedding": ("residual", "multi-head", 128),
    "hierarchical latents": ("residual", "unpooled", 128 + 8 // 3),
    "whole latents": ("bottleneck", "pooled", 128 + 8),
}


@pytest.mark.parametrize("conditioning", VARIANTS)
def test_other_networks_are_a_config_away(conditioning, tmp_path):
    """Conditioning on vectors, blocks and attention of other kinds; also after training, exported and opened again."""
    blocks, attention, inputs = VARIANTS[conditioning]
    config = tiny_config()
    config.model.update(blocks=blocks, attention=attention)
    config.model.generator.conditioning = conditioning
    config.train.steps = 1
    state, _ = sagan_jax.train_and_evaluate(config, tmp_path / "run")
    params, stats = (tree["block_8"] for tree in (state.generator.params, state.generator.spectral_stats))
    if blocks == "bottleneck":
        params, stats = params["same"], stats["same"]
    assert params["norm_0"]["scale"]["kernel"].shape[0] == inputs
    assert "scale" in stats["norm_0"]
    assert not [path for path in flax.traverse_util.flatten_dict(state.generator.spectral_stats) if "embedding" in path]
    model = sagan_jax.load(tmp_path / "run")
    save_model(tmp_path / "portable", model, "float32", with_program=False)
    again = sagan_jax.load(tmp_path / "portable")
    assert (again.card.conditioning, again.card.blocks, again.card.attention) == (conditioning, blocks, attention)
    np.testing.assert_array_equal(again.sample([0, 5]), model.sample([0, 5]))
    queries, keys = again.attention(classes=[0])[1].maps["generator_8"].shape[1:]
    assert (queries, keys) == (64, 64 if attention == "unpooled" else 16)


class NormalizedEmbedding(SharedEmbedding):
    """As `SharedEmbedding` was in version 0.1.0."""

    @nn.compact
    def __call__(self, latents, labels):
        embedding = Embedding(self.num_classes, self.features, self.config, name="embedding")(labels)
        return latents, [embedding] * self.num_blocks


def test_a_run_with_a_normalised_class_embedding_is_not_opened_as_one_without(tmp_path):
    config = tiny_config()
    config.model.generator.conditioning = "shared embedding"
    config.train.steps = 1
    pair = sagan_jax.Networks(
        sagan_jax.build_generator(16, **SIZE, conditioning=NormalizedEmbedding),
        sagan_jax.build_discriminator(16, **SIZE),
    )
    sagan_jax.train_and_evaluate(config, tmp_path, networks=pair)
    assert sagan_jax.load(tmp_path, networks=pair).sample([1]).shape == (1, 16, 16, 3)
    with pytest.raises(InputError, match="has a class embedding with spectral norm, as of sagan_jax 0.1.0"):
        sagan_jax.load(tmp_path)


def test_every_public_name_is_there():
    assert all(getattr(sagan_jax, name) is not None for name in sagan_jax.__all__)
    assert set(sagan_jax.__all__) <= set(dir(sagan_jax))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sagan_jax.nothing
