"""How fast images are prepared, streamed and taken from the devices, and how long training waits for them.

python bench/data.py [--images=FOLDER_OR_ZIP] [--output=bench/results/data.json]

Without --images it makes JPEG files of the usual size of ImageNet's, 500x375. Streaming per core divides by
the CPU time that was used, preparing per core by time and number of cores.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from sagan_jax.config import default_config
from sagan_jax.data.pipeline import Pipeline
from sagan_jax.data.prepared import open_prepared
from sagan_jax.data.residency import open_feed, real_batch
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.runtime.workdir import read_metrics
from sagan_jax.training.loop import train_and_evaluate

JPEG_FILES = 2000
STREAMED_IMAGES = 20_000
TRAINING_STEPS = 60


def main() -> None:
    """Measures everything and prints one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", help="folder or zip to prepare")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    flags = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    figures: dict[str, object] = {
        "device": jax.devices()[0].device_kind,
        "cores": cores,
        "python": platform.python_version(),
        "jax": jax.__version__,
    }
    with tempfile.TemporaryDirectory() as folder:
        source = flags.images or make_jpeg_files(Path(folder, "jpeg"))
        for resolution in (128, 32):
            out = f"{folder}/{resolution}"
            seconds, images = prepared(source, out, resolution)
            figures[f"prepare_{resolution}px_images_per_s"] = images / seconds
            figures[f"prepare_{resolution}px_images_per_s_per_core"] = images / seconds / cores
            figures |= {f"stream_{resolution}px_{k}": v for k, v in streamed(out, resolution).items()}
            figures[f"resident_{resolution}px_images_per_s"] = resident(out, resolution)
            for residency in ("host", "device"):
                name = f"wait_{resolution}px_{residency}_share_of_training_time"
                figures[name] = waiting(out, resolution, residency, f"{folder}/run-{resolution}-{residency}")
    for name, value in figures.items():
        print(f"{name:<50} {value:,.4g}" if isinstance(value, float) else f"{name:<50} {value}")
    if flags.output:
        flags.output.parent.mkdir(parents=True, exist_ok=True)
        flags.output.write_text(json.dumps(figures, indent=1) + "\n")


def make_jpeg_files(folder: Path) -> str:
    """Writes smooth random images, so that files are as large as photographs'; returns the folder."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(JPEG_FILES):
        octaves = [random.normal(size=(375 // n + 1, 500 // n + 1, 3)) * n**0.8 for n in (1, 4, 16, 64)]
        picture = sum(
            np.asarray(Image.fromarray(_to_uint8(x)).resize((500, 375), Image.Resampling.BICUBIC), float)
            for x in octaves
        )
        Image.fromarray(_to_uint8(np.asarray(picture))).save(folder / f"{i}.jpg", quality=90)
    return str(folder)


def _to_uint8(x: np.ndarray) -> np.ndarray:
    return (127.5 + 50 * (x - x.mean()) / x.std()).clip(0, 255).astype(np.uint8)


def prepared(source: str, out: str, resolution: int) -> tuple[float, int]:
    """Returns the seconds that prepare takes with all cores, starts of processes included, and the number of images."""
    flags = [f"--source={source}", f"--out={out}", f"--resolution={resolution}"]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sagan_jax.prepare", *flags], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start, len(open_prepared(out, resolution))


def config_of(out: str, resolution: int, residency: str) -> ConfigDict:
    """Returns the config of a narrow network on prepared images."""
    config = default_config()
    config.data.update(source=f"prepared:{out}", resolution=resolution, residency=residency)
    config.model.num_classes = -1
    config.model.generator.update(channels=2, attention=(16,))
    config.model.discriminator.update(channels=2, attention=(16,))
    config.train.update(batch_size=64, steps=TRAINING_STEPS)
    config.sampling.update(batch_size=16, standing_batches=1)
    config.log.update(every_steps=TRAINING_STEPS // 2, sheet_classes=2, sheet_columns=2)
    return config


def streamed(out: str, resolution: int) -> dict[str, float]:
    """Measures the pipeline with nothing else to do, in batches of 256."""
    config = config_of(out, resolution, "host")
    config.train.batch_size = 256
    config.model.num_classes = 0
    source = open_prepared(out, resolution)
    steps = STREAMED_IMAGES // 256
    batches = Pipeline(config, source).batches(0, steps)
    next(batches)  # opens files and starts threads
    start, cpu = time.perf_counter(), time.process_time()
    assert sum(1 for _ in batches) == steps - 1
    images = (steps - 1) * 256
    return {
        "images_per_s": images / (time.perf_counter() - start),
        "images_per_s_per_core": images / (time.process_time() - cpu),
    }


def resident(out: str, resolution: int) -> float:
    """Measures the images per second taken from the data set on the devices."""
    config = config_of(out, resolution, "device")
    config.train.batch_size = 256
    config.model.num_classes = 0
    with contextlib.redirect_stdout(io.StringIO()):
        feed = open_feed(config, Pipeline(config, open_prepared(out, resolution)), make_mesh())
    take = jax.jit(real_batch, static_argnums=2)
    steps = STREAMED_IMAGES // 256
    inputs = feed.inputs(0, steps)
    jax.block_until_ready(take(feed.resident, next(inputs), resolution))
    start = time.perf_counter()
    for indices in inputs:
        batch = take(feed.resident, indices, resolution)
    jax.block_until_ready(batch)
    return (steps - 1) * 256 / (time.perf_counter() - start)


def waiting(out: str, resolution: int, residency: str, workdir: str) -> float:
    """Returns the fraction of a training run's time, after compilation, spent waiting for images."""
    with contextlib.redirect_stdout(io.StringIO()):
        train_and_evaluate(config_of(out, resolution, residency), workdir)
    return float(read_metrics(workdir)[-1]["data_wait"])


if __name__ == "__main__":
    main()
