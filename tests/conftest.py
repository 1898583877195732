"""Eight virtual CPU devices, a compilation cache, and the smallest real run."""

import dataclasses
import functools
import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"  # real images and weights; tests that want them skip where they are missing

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)

from sagan_jax.data.digits import Digits  # noqa: E402
from sagan_jax.data.pipeline import Pipeline  # noqa: E402
from sagan_jax.runtime.randomness import stream  # noqa: E402
from sagan_jax.runtime.sharding import batch_sharding, make_mesh, replicated, to_global  # noqa: E402
from sagan_jax.training.dispatch import compile_steps  # noqa: E402
from sagan_jax.training.state import create_state  # noqa: E402
from sagan_jax.training.step import build_recipe  # noqa: E402


def load_config(name):
    """The config of configs/NAME.py."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def tiny_config():
    """Digits with the narrowest networks that still have every kind of layer."""
    config = load_config("digits")
    config.model.latent_size = 8
    config.model.generator.channels = 2
    config.model.discriminator.channels = 2
    config.train.update(batch_size=16, steps=6, ema_start_step=2)
    config.sampling.update(batch_size=16, standing_batches=2)
    config.log.update(every_steps=2, pictures_every_steps=100, sheet_columns=2)
    config.eval.features = ""
    return config


@dataclasses.dataclass
class Trainer:
    """A compiled step on some of the virtual devices."""

    config: object
    devices: int = 1

    def __post_init__(self):
        self.recipe = build_recipe(self.config)
        self.mesh = make_mesh(jax.devices()[: self.devices])
        self.step = compile_steps(self.recipe, self.mesh, self.config.data.resolution)
        self.pipeline = Pipeline(self.config, Digits(self.config.data.resolution))
        create = functools.partial(create_state, self.recipe.networks, self.recipe.optimizers, self.recipe.prior)
        self.create = jax.jit(create, out_shardings=replicated(self.mesh))

    def fresh_state(self):
        return self.create(stream(self.config.seed, "initial weights"))

    def batch(self, step):
        return to_global(batch_sharding(self.mesh), self.pipeline.batch_for_step(step))

    def run(self, state, steps):
        key, metrics = stream(self.config.seed, "train"), None
        for _ in range(steps):
            state, metrics = self.step(state, None, (self.batch(int(state.step)),), key)
        return state, metrics


@pytest.fixture(scope="module")
def hasty_compilation():
    """For many programs that run a few times: compiled in half the time, and slower to run."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session", params=["array_record", "tfrecord"])
def imagenet(request, tmp_path_factory):
    """Twelve random JPEG files with the schema of imagenet2012, written by TFDS itself."""
    pytest.importorskip("tensorflow")
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp(request.param)
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(num_classes=1000),
            "file_name": tfds.features.Text(),
        }
    )
    random = np.random.default_rng(0)

    def examples():
        for i in range(12):
            image = random.integers(0, 256, (140 + i, 170, 3), np.uint8)
            yield i, {"image": image, "label": i * 90, "file_name": f"{i}.jpg"}

    tfds.dataset_builders.store_as_tfds_dataset(
        name="imagenet2012",
        version="5.1.0",
        features=features,
        split_datasets={"train": examples()},
        data_dir=folder,
        file_format=request.param,
    )
    return folder


@pytest.fixture(scope="session")
def tiny_trainer():
    return Trainer(tiny_config())
