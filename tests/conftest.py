"""Eight virtual CPU devices, quick compilation, one cache for all processes, and the smallest real run."""

import contextlib
import gc
import os
import signal
import socket

from places import ROOT

# Programs inherit what is ignored, as in the background or under nohup, but no handlers.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

# Read by JAX when it is imported, here and in the programs that tests start.
os.environ |= {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    # A shape that is widened unasked is a mistake more often than not.
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    # Compiled in a fifth of the time.
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
    "XLA_FLAGS": os.environ.get("XLA_FLAGS", "")
    + " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    # On a busy machine eight devices of two cores may meet late; XLA would give up, and end the process, after 40 s.
    + " --xla_cpu_collective_call_terminate_timeout_seconds=3000",
}
import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

# Shapes and dtypes in signatures are checked in every call that a test causes; only here, since users would pay for it.
# Tuples of numbers are left to the builders, whose own answers tests/unit/models/test_inputs.py wants to see.
install_import_hook(
    ["sagan_jax.models", "sagan_jax.augmentation", "sagan_jax.objectives", "sagan_jax.metrics", "sagan_jax.ops"],
    "beartype.beartype(conf=beartype.BeartypeConf(hint_overrides=beartype.FrozenDict({tuple[int, ...]: object})))",
)
jax.config.update("jax_num_cpu_devices", 8)

from tiny import Trainer, tiny_config  # noqa: E402

from sagan_jax.features import classifier, extractor  # noqa: E402
from sagan_jax.training.loop import train_and_evaluate  # noqa: E402

# What tracing makes is nearly all kept: to look for garbage in it again and again takes a tenth of the time.
gc.freeze()
gc.set_threshold(100_000, 20, 100)


@contextlib.contextmanager
def optimised():
    """For programs that take many steps."""
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def optimised_compilation():
    with optimised():
        yield


@pytest.fixture(scope="session", autouse=True)
def one_classifier():
    """The feature network `classifier` is trained once for the same images, and optimised: it takes 400 steps."""
    trained = {}

    def train_once(images, labels, num_classes, seed):
        key = (images.tobytes(), labels.tobytes(), num_classes, seed)
        if key not in trained:
            with optimised():
                trained[key] = classifier.train_classifier(images, labels, num_classes, seed)
        return trained[key]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(extractor, "train_classifier", train_once)
        yield


@pytest.fixture
def strict_dtypes():
    """For rooms that mix no dtypes unasked. Optax does, and so do networks in bfloat16, whose sums are in float32."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """The workdir of a finished run."""
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    train_and_evaluate(tiny_config(), str(workdir))
    return workdir


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


@pytest.fixture(scope="module")
def bucket():
    """A Google Cloud Storage server of our own, as the variables by which programs find it."""
    pytest.importorskip("gcsfs")
    server_module = pytest.importorskip("gcp_storage_emulator.server")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(server_module.objects, "download", _with_generation(server_module.objects.download))
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    server = server_module.create_server("localhost", port, in_memory=True, default_bucket="bucket")
    server.start()
    yield {
        "STORAGE_EMULATOR_HOST": f"http://localhost:{port}",
        "EPATH_USE_TF": "false",
        "TENSORSTORE_GCS_HTTP_URL": f"http://localhost:{port}",
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "any",
        "JAX_PLATFORMS": "cpu",
    }
    server.stop()
    monkeypatch.undo()


def _with_generation(download):
    """With the header by which TensorStore tells one version of an object from another; the emulator leaves it out."""
    from gcp_storage_emulator.exceptions import NotFound

    def answer(request, response, storage, *arguments, **options):
        with contextlib.suppress(NotFound):
            found = storage.get_file_obj(request.params["bucket_name"], request.params["object_id"])
            response["x-goog-generation"] = found["generation"]
        download(request, response, storage, *arguments, **options)

    return answer
