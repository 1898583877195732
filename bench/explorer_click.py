"""What a click in the explorer costs, for 128 px models of the usual width with random weights.

python bench/explorer_click.py [--config=imagenet128 --config=imagenet128_best] [--clicks=20] [--browser]

Prints medians in seconds: a first image (one pass through both networks), and a click on one that was shown before,
with four points; with --browser also from the click to the changed maps in Chromium on the same machine.
"""

import argparse
import json
import shutil
import statistics
import time

import jax
import numpy as np

from sagan_jax.config import load_config
from sagan_jax.exploring.choice import Choice
from sagan_jax.exploring.stage import Stage
from sagan_jax.exploring.view import image_html, layers_html
from sagan_jax.portable.folder import discriminator_shapes, generator_shapes
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.sampling.card import Card
from sagan_jax.sampling.model import Model
from sagan_jax.training.networks import build_networks

# Sets window.changed to the milliseconds from the next click to the frame in which the marks on the maps differ.
WATCH = """() => {
  const marks = () => [...document.querySelectorAll('.map svg')].map((mark) => mark.innerHTML).join();
  const before = marks();
  window.changed = 0;
  document.addEventListener('click', () => {
    const begin = performance.now();
    const look = () => {
      if (marks() === before) requestAnimationFrame(look); else window.changed = performance.now() - begin;
    };
    look();
  }, {capture: true, once: true});
}"""
POINTS = [(float(x), 0.3) for x in np.linspace(0.1, 0.9, 4)]


def main() -> None:
    """Measures and prints a line of JSON for each config."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", action="append", help="several are measured one after the other")
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--browser", action="store_true", help="also in a real browser")
    flags = parser.parse_args()
    for name in flags.config or ["imagenet128", "imagenet128_best"]:
        stage = random_stage(name)
        figures = measured(stage, flags.clicks)
        if flags.browser:
            figures["browser_click_s"] = measured_in_browser(stage, flags.clicks)
        device = jax.devices()[0].device_kind
        print(json.dumps({"config": name} | figures | {"points": len(POINTS), "device": device}), flush=True)


def measured(stage: Stage, clicks: int) -> dict[str, float]:
    """Returns medians over so many images and clicks."""
    stage.generated(Choice())  # compiles
    firsts, again = [], []
    for number in range(clicks):
        begin = time.perf_counter()
        stage.generated(Choice(seed=1 + number))
        firsts.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        scene = stage.generated(Choice(seed=1 + number))
        image_html(scene, POINTS, ""), layers_html(scene, POINTS)
        again.append(time.perf_counter() - begin)
    first, click = (round(statistics.median(times), 4) for times in (firsts, again))
    return {"first_image_s": first, "click_s": click}


def measured_in_browser(stage: Stage, clicks: int) -> float:
    """Returns the median time from a click to the next frame in which the marks on the maps have changed."""
    from playwright.sync_api import sync_playwright

    from sagan_jax.exploring.page import LAUNCH, Page

    page = Page(stage, None).build()
    _, address, _ = page.launch(**LAUNCH)
    query = "?points=" + "_".join(f"{x},{y}" for x, y in POINTS)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    times = []
    with sync_playwright() as playwright:
        view = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page()
        view.goto(address + query)
        view.wait_for_selector(".map img")
        box = view.locator("#stage-image").bounding_box()
        assert box
        for number in range(clicks):
            view.evaluate(WATCH)
            view.mouse.click(box["x"] + box["width"] * (0.1 + 0.8 * number / clicks), box["y"] + box["height"] / 2)
            view.wait_for_function("window.changed > 0")
            times.append(view.evaluate("window.changed") / 1000)
            view.wait_for_timeout(200)  # until the link has followed
    page.close()
    return round(statistics.median(times), 4)


def random_stage(name: str) -> Stage:
    """Returns the stage of the networks of configs/NAME.py with random weights."""
    config = load_config(name)
    networks, classes = build_networks(config), config.model.num_classes
    card = Card(
        name=name,
        latent_size=config.model.latent_size,
        num_classes=classes,
        generator=networks.generator.architecture,
        discriminator=networks.discriminator.architecture,
        batch_norm_epsilon=config.model.batch_norm_epsilon,
        class_names=tuple(map(str, range(classes))),
        class_frequencies=(),
        step=None,
        weights="random",
        origin={},
    )
    variables, discriminator_variables = (
        random_arrays(shapes(card)) for shapes in (generator_shapes, discriminator_shapes)
    )
    return Stage(Model.from_card(card, make_mesh(), jax.device_count(), variables, discriminator_variables))


def random_arrays(shapes: dict) -> dict:
    """Returns small positive numbers of these shapes: variances are among them."""
    random = np.random.default_rng(0)
    return jax.tree.map(lambda like: 0.02 * random.random(like.shape, np.float32) + 0.001, shapes)


if __name__ == "__main__":
    main()
