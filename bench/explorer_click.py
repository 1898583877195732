"""What a click in the explorer costs on the server, for a 128 px model of the default width with random weights.

python bench/explorer_click.py [--config=imagenet128] [--clicks=20]

Prints medians in seconds: a first image (one pass through both networks), and a click on one that was shown before.
"""

import argparse
import json
import statistics
import time

import jax
import numpy as np
from experiment import load_config

from sagan_jax.exploring.scene import Choice, Stage
from sagan_jax.exploring.view import layers_html, stage_html
from sagan_jax.portable.folder import discriminator_shapes, generator_shapes
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.sampling.card import Card
from sagan_jax.sampling.model import Model, build_sampler
from sagan_jax.training.networks import build_networks


def main() -> None:
    """Measures and prints a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="imagenet128")
    parser.add_argument("--clicks", type=int, default=20)
    flags = parser.parse_args()
    config = load_config(flags.config, [])
    networks, classes = build_networks(config), config.model.num_classes
    card = Card(
        name=flags.config,
        latent_size=config.model.latent_size,
        num_classes=classes,
        generator=networks.generator.architecture,
        discriminator=networks.discriminator.architecture,
        batch_norm_epsilon=config.model.batch_norm_epsilon,
        class_names=tuple(map(str, range(classes))),
        class_shares=(),
        step=None,
        weights="random",
        origin={},
    )
    sampler = build_sampler(card, make_mesh(), jax.device_count())
    variables, judge = (random_arrays(shapes(card)) for shapes in (generator_shapes, discriminator_shapes))
    stage = Stage(Model(card, sampler, variables, card.build_discriminator(), judge))
    stage.generated(Choice())  # compiles
    firsts, clicks = [], []
    for number in range(flags.clicks):
        begin = time.perf_counter()
        scene = stage.generated(Choice(seed=1 + number))
        firsts.append(time.perf_counter() - begin)
        points = [(x, 0.3) for x in np.linspace(0.1, 0.9, 4)]
        begin = time.perf_counter()
        scene = stage.generated(Choice(seed=1 + number))
        stage_html(scene, points, ""), layers_html(scene, points)
        clicks.append(time.perf_counter() - begin)
    figures = {"first_image_s": statistics.median(firsts), "click_s": statistics.median(clicks)}
    print(json.dumps(figures | {"config": flags.config, "points": 4, "device": jax.devices()[0].device_kind}))


def random_arrays(shapes: dict) -> dict:
    """Small positive numbers of these shapes: variances are among them."""
    random = np.random.default_rng(0)
    return jax.tree.map(lambda like: 0.02 * random.random(like.shape, np.float32) + 0.001, shapes)


if __name__ == "__main__":
    main()
