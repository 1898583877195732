"""The explorer in a real browser."""

import re
import shutil
import socket
import urllib.parse

import numpy as np
import pytest
from PIL import Image
from runs import start_program

from sagan_jax.exploring.scene import Choice, Stage
from sagan_jax.exploring.view import layer_numbers, query_at
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.training.trained import open_trained

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def address(tiny_run):
    pytest.importorskip("gradio")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    process = start_program("explore", f"--workdir={tiny_run}", f"--port={port}", devices=1)
    for line in process.stdout:
        if line.startswith("open http"):
            break
    yield line.split()[1]
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.goto(address)
    opened.wait_for_selector("#stage-image img")
    yield opened
    context.close()


def click(page, x, y):
    box = page.locator("#stage-image").bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_a_click_shows_where_that_point_looks_with_the_models_own_numbers(page, tiny_run):
    page.locator("#clear").click()
    page.wait_for_function("document.querySelectorAll('#layers figure').length === 0")
    click(page, 0.3, 0.6)
    page.wait_for_function("document.querySelectorAll('#layers figure').length === 2")  # one in each network
    before = page.locator("#layers").inner_html()
    click(page, 0.9, 0.1)
    page.wait_for_function("before => document.querySelector('#layers').innerHTML !== before", arg=before)
    layer = Stage(open_trained(str(tiny_run), "newest", make_mesh(), judging=True)).generated(Choice()).layers[0]
    query = query_at(layer, (0.3, 0.6))
    figure = page.locator("[data-layer=generator_8] figure").first
    assert int(figure.get_attribute("data-query")) == query
    entropy, distance = layer_numbers(layer, query, 16)
    shown = figure.locator("figcaption")
    title = shown.get_attribute("title")
    assert float(re.search(r"entropy ([\d.]+) of", title)[1]) == pytest.approx(entropy, abs=0.006)
    assert float(re.search(r"([\d.]+) px", shown.inner_text())[1]) == pytest.approx(distance, abs=0.06)


def test_another_class_changes_image_maps_and_link(page):
    image = page.locator("#stage-image img").get_attribute("src")
    page.locator("#label input").click()
    page.get_by_role("option", name="7").click()
    page.wait_for_function("src => document.querySelector('#stage-image img').src !== src", arg=image)
    page.wait_for_function("location.search.includes('label=7')")
    link = page.url
    again = page.context.new_page()
    again.goto(link)
    again.wait_for_selector("#stage-image img")
    assert again.locator("#stage-image img").get_attribute("src") == page.locator("#stage-image img").get_attribute(
        "src"
    )
    assert again.locator("#layers figure").count() == page.locator("#layers figure").count()
    assert dict(urllib.parse.parse_qsl(urllib.parse.urlparse(link).query))["label"] == "7"


def test_a_bad_upload_is_answered_and_a_good_one_shown(page, tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    page.locator("input[type=file]").set_input_files(tmp_path / "bad.png")
    page.get_by_text("is no image that can be read").wait_for()
    assert "Traceback" not in page.content()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / "good.png")
    page.locator("input[type=file]").set_input_files(tmp_path / "good.png")
    page.get_by_text("your image").wait_for()
    assert page.locator("[data-layer=generator_8]").count() == 0
    assert page.locator("[data-layer=discriminator_8]").count() == 1


def test_it_fits_a_phone(browser, address):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(address)
    page.wait_for_selector("#stage-image img")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    stage, layers, controls = (page.locator(f"#{name}").bounding_box() for name in ("stage-image", "layers", "label"))
    assert stage["width"] > 300
    assert stage["y"] < layers["y"] < controls["y"]  # the maps come before the controls
    page.close()
