"""The explorer in a real browser, with the digits model that comes along and a run."""

import base64
import dataclasses
import io
import math
import re
import shutil
import socket
import urllib.parse

import jax
import numpy as np
import pytest
from etils import epath
from PIL import Image
from runs import start_program

from sagan_jax.exploring.stage import Stage
from sagan_jax.loading import PRETRAINED
from sagan_jax.portable.folder import load_model
from sagan_jax.reporting.page import report_page
from sagan_jax.runtime.randomness import stream_key
from sagan_jax.runtime.sharding import make_mesh

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 600_000  # milliseconds
OPACITY = 0.82  # of the layer's largest weight


def serve(*flags, **options):
    """A process of the explorer, and its address."""
    pytest.importorskip("gradio")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    process = start_program("explore", *flags, f"--port={port}", devices=1, **options)
    for line in process.stdout:
        if line.startswith("open http"):
            return process, line.split()[1]
    raise RuntimeError("the explorer has ended")


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    """Where Gradio puts what is uploaded."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def address(uploads):
    process, found = serve("--model=digits", environment={"GRADIO_TEMP_DIR": str(uploads)})
    yield found
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def model():
    return load_model(str(PRETRAINED / "digits"), make_mesh(jax.devices()[:1]), 1, with_discriminator=True)


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    visit(opened, address)
    yield opened
    context.close()


def visit(page, address):
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_selector("#stage-image")


def click(page, x, y):
    box = page.locator("#stage-image").bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def wait_for_points(page, *points):
    page.wait_for_function("end => location.search.endsWith(end)", arg="_".join(f"{x:.4f},{y:.4f}" for x, y in points))


def picture(page):
    """The image that is shown, as the style that all of the page refers to."""
    return page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--picture')")


def wait_for_another_picture(page, before):
    script = "before => getComputedStyle(document.documentElement).getPropertyValue('--picture') !== before"
    page.wait_for_function(script, arg=before)


def maps(page, layer):
    """The pictures of a layer's heat maps, as they are in the page."""
    return [image.get_attribute("src") for image in page.locator(f"[data-layer={layer}] .map img").all()]


def cells(source):
    """The pixels of such a picture, [side, side, 4]."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


def attention_of(model, label, seed):
    """Attention rows [64, 16] of the generator's only layer, from the sampler itself."""
    latents = model.sampler.fixed_latents(1, stream_key(seed, "samples"))
    _, found = model.sampler.attention(model.variables, latents, np.array([label]))
    return found["attention_8"][0]


def assert_shows(source, rows, query):
    """A heat map is the model's own attention row: even shares and less are clear, the layer's most is opaque."""
    expected = np.log(np.maximum(rows[query] * 16, 1)) / math.log(rows.max() * 16) * OPACITY * 255
    np.testing.assert_allclose(cells(source)[..., 3].reshape(-1), expected, atol=2)
    assert expected.max() > 40  # the row is no even one, so a wrong one would be seen


def test_a_click_shows_what_that_point_attends_to_with_the_models_own_numbers(page, model):
    visit(page, page.url.partition("?")[0] + "?label=3&seed=0&points=")
    assert page.locator("#layers figure").count() == 0
    click(page, 0.31, 0.56)  # in column 2 and row 4 of 8
    page.wait_for_function("document.querySelectorAll('#layers .map').length === 2")  # one in each network
    query, rows = 4 * 8 + 2, attention_of(model, 3, 0)
    figure = page.locator("[data-layer=generator_8] .map")
    assert int(figure.get_attribute("data-query")) == query
    (source,) = maps(page, "generator_8")
    assert_shows(source, rows, query)
    row = rows[query].astype(np.float64)
    entropy = -np.sum(row * np.log(row)) / math.log(16)
    away = [math.hypot(4 * (key % 4) + 2 - 5, 4 * (key // 4) + 2 - 9) for key in range(16)]  # the query is at (5, 9) px
    shown = figure.locator("figcaption").inner_text()
    assert float(re.search(r"entropy (\d+) %", shown)[1]) == pytest.approx(100 * entropy, abs=0.6)
    assert float(re.search(r"distance ([\d.]+) px", shown)[1]) == pytest.approx(np.sum(row * away), abs=0.06)
    gamma = page.locator("[data-layer=generator_8] .gamma b").inner_text().replace("−", "-")
    assert float(gamma) == pytest.approx(float(model.variables["params"]["attention_8"]["gamma"]), abs=0.0006)


def test_a_point_that_moves_changes_its_own_map_only(page, model):
    points = [(0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.4, 0.4)]
    query = "_".join(f"{x},{y}" for x, y in points)
    visit(page, page.url.partition("?")[0] + f"?label=3&seed=7&points={query}")
    before, rows = maps(page, "generator_8"), attention_of(model, 3, 7)
    nearer = [row * 8 + column for row in range(2, 5) for column in range(2, 5) if (row, column) != (3, 3)]
    query = max(nearer, key=lambda query: rows[query].max())  # one that attends to something
    box = page.locator("[data-layer=discriminator_8] .map .tile").first.bounding_box()  # maps can be clicked as well
    x, y = ((query % 8 + 0.5) / 8, (query // 8 + 0.5) / 8)
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.wait_for_function("src => document.querySelectorAll('#layers .map img')[3].src !== src", arg=before[3])
    after = maps(page, "generator_8")
    assert after[:3] == before[:3]
    assert_shows(after[3], rows, query)
    assert np.abs(cells(after[3]).astype(int) - cells(before[3])).max() > 20


def test_another_class_changes_image_maps_and_link(page, model):
    before = picture(page), maps(page, "generator_8")
    page.locator("#label input").click()
    page.get_by_role("option", name="7").click()
    wait_for_another_picture(page, before[0])
    page.wait_for_function("location.search.includes('label=7')")
    after = maps(page, "generator_8")
    assert 1 <= len(after) <= len(before[1]) == 3  # an even one has a word in its place
    query = int(page.locator("[data-layer=generator_8] .map:has(img)").first.get_attribute("data-query"))
    assert_shows(after[0], attention_of(model, 7, 0), query)
    again = page.context.new_page()
    visit(again, page.url)
    assert picture(again) == picture(page)
    assert maps(again, "generator_8") == after
    assert dict(urllib.parse.parse_qsl(urllib.parse.urlparse(page.url).query))["label"] == "7"


def test_the_largest_seed_stays_exact_and_sliders_show_what_they_pass(page):
    base = page.url.partition("?")[0]
    visit(page, base + "?seed=4294967295&points=0.5,0.5")
    page.wait_for_function("document.querySelector('#seed input').value === '4294967295'")
    assert "seed=4294967295" in page.url
    before, slider = picture(page), page.locator("#walk input[type=range]")
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 9, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + box["height"] / 2, steps=4)
    wait_for_another_picture(page, before)  # while the button is down
    page.mouse.up()
    page.wait_for_function("location.search.includes('walk=')")
    assert re.fullmatch(r"\d\d %", page.locator("#walk").get_attribute("data-readout"))


def test_a_bad_upload_is_answered_and_a_good_one_stays(page, uploads, tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / "good.png")
    generated = picture(page)
    page.locator("input[type=file]").set_input_files(tmp_path / "good.png")
    page.get_by_text("uploaded image, taken for class 0").wait_for()
    own = picture(page)
    assert own != generated
    assert page.locator("[data-layer=generator_8]").count() == 0
    assert page.locator("[data-layer=discriminator_8]").count() == 1
    page.locator("input[type=file]").set_input_files(tmp_path / "bad.png")
    page.get_by_text("is no image that can be read").wait_for()
    assert "Traceback" not in page.content()
    page.locator("#label input").click()
    page.get_by_role("option", name="7").click()
    page.get_by_text("uploaded image, taken for class 7").wait_for()
    assert picture(page) == own
    assert sum(path.stat().st_size for path in uploads.rglob("*") if path.is_file()) == 0  # nothing of them is kept
    page.locator("#back").click()
    page.get_by_text("class 7 · seed 0").wait_for()
    assert page.locator("[data-layer=generator_8]").count() == 1


def test_a_picture_is_saved_with_its_link(page):
    with page.expect_download() as download:
        page.locator("#save").click()
    assert download.value.suggested_filename == "digits_class_0_seed_0.png"
    saved = Image.open(download.value.path())
    assert saved.text["Title"] == "digits · class 0 · seed 0"
    assert page.url.endswith(saved.text["link"])


def test_a_link_that_cannot_be_copied_is_shown(page):
    page.evaluate("navigator.clipboard.writeText = () => Promise.reject(); document.execCommand = () => false")
    page.locator("#copy").click()
    page.wait_for_function("document.querySelector('#link').value === location.href")
    assert page.locator("#link").is_visible()
    assert page.locator("#copy").inner_text() == "Copy it from below"
    page.evaluate("document.execCommand = () => true")
    page.locator("#copy").click()
    page.wait_for_function("document.querySelector('#copy').textContent === 'Copied'")
    assert not page.locator("#link").is_visible()
    page.wait_for_function("document.querySelector('#copy').textContent.trim() === 'Copy link'")


def test_the_time_line_of_a_run_is_shown_by_steps(browser, tiny_run, tmp_path, request):
    shutil.copytree(tiny_run, tmp_path / "run")
    Image.new("RGB", (30, 30)).save(tmp_path / "run" / "samples" / "00000002.png")
    process, address = serve(f"--workdir={tmp_path / 'run'}")
    request.addfinalizer(process.terminate)
    page = browser.new_page()
    visit(page, address)
    assert page.locator("#training .moment img").get_attribute("alt") == "samples after 6 steps"
    assert page.locator("#training polyline").count() == 2
    page.locator("#moment input[type=range]").press("ArrowLeft")
    page.wait_for_selector("#training img[alt='samples after 2 steps']")
    assert page.locator("#moment").get_attribute("data-readout") == "2 steps"
    page.locator("#moment input[type=range]").press("ArrowRight")
    page.wait_for_selector("#training img[alt='samples after 6 steps']")
    small = page.locator("#training .sheet").bounding_box()["width"]
    page.locator("#training .sheet").click()
    assert page.locator("dialog img").bounding_box()["width"] > 2 * small
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.close()
    process.terminate()
    process.wait()


def test_it_fits_a_phone_on_which_the_image_stays_in_view(browser, address):
    page = browser.new_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    visit(page, address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    names = ("stage-image", "label", "layers", "truncation")
    stage, label, layers, more = (page.locator(f"#{name}").bounding_box() for name in names)
    assert 200 <= stage["width"] <= 0.35 * 844  # the layers have most of the height
    assert stage["y"] < label["y"] < layers["y"] < more["y"]
    assert layers["y"] < 620  # without scrolling
    page.touchscreen.tap(stage["x"] + 20, stage["y"] + 20)
    page.wait_for_function("document.querySelectorAll('[data-layer=generator_8] .map').length === 4")
    page.locator("#truncation").scroll_into_view_if_needed()
    page.evaluate("window.scrollBy(0, 300)")
    assert 0 <= page.locator("#stage-image").bounding_box()["y"] <= 10
    page.close()


def test_on_a_tablet_the_image_is_larger_than_a_map_and_it_can_be_dark(browser, address):
    page = browser.new_page(viewport={"width": 820, "height": 1180}, color_scheme="dark")
    visit(page, address)
    page.wait_for_selector(".map .tile")
    image, small = (page.locator(name).first.bounding_box() for name in ("#stage-image", ".map .tile"))
    assert image["width"] > 2 * small["width"]
    brightness = "style => style.match(/[0-9]+/g).slice(0, 3).reduce((sum, value) => sum + Number(value), 0) / 3"
    style = "getComputedStyle(document.querySelector('{}')).{}"
    paper, ink = (
        page.evaluate(f"({brightness})({style.format(*of)})")
        for of in (("body", "backgroundColor"), ("#title h1", "color"))
    )
    assert paper < 60 < 180 < ink
    page.close()


def test_the_report_fits_a_phone(browser, tiny_run, tmp_path):
    (tmp_path / "report.html").write_text(report_page(epath.Path(tiny_run)))
    page = browser.new_page(viewport={"width": 390, "height": 844}, is_mobile=True)
    page.goto(f"file://{tmp_path / 'report.html'}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_keys_set_a_point_on_the_image(page, model):
    visit(page, page.url.partition("?")[0] + "?label=3&seed=0&points=")
    page.locator("#stage-image").focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Enter"):  # from the middle of 8x8
        page.keyboard.press(key)
    wait_for_points(page, (2.5 / 8, 3.5 / 8))
    assert page.evaluate("document.activeElement.id") == "stage-image"  # it can go on
    for key in ("ArrowRight", "Enter"):
        page.keyboard.press(key)
    wait_for_points(page, (2.5 / 8, 3.5 / 8), (3.5 / 8, 3.5 / 8))


@pytest.mark.parametrize("seed", ["-5", "1.5", "4294967296", ""])
def test_a_wrong_seed_is_said_and_all_that_was_shown_stays(page, seed):
    before, link = picture(page), page.url
    page.locator("#seed input").fill(seed)
    page.get_by_text("Shown is still class 0 · seed 0.").wait_for()
    assert picture(page) == before
    click(page, 0.4, 0.4)  # on what is shown
    page.wait_for_function("document.querySelectorAll('[data-layer=generator_8] .map').length === 4")
    assert page.url.startswith(link)
    page.locator("#seed input").fill("7")
    page.get_by_text("class 0 · seed 7").wait_for()
    assert not page.locator(".notice").is_visible()


def test_a_wrong_link_is_said_and_nothing_of_it_is_used(page):
    visit(page, page.url.partition("?")[0] + "?label=3&seed=abc&points=0.5,0.5")
    page.get_by_text("seed=abc must be a whole number from 0 to 4,294,967,295").wait_for()
    assert page.get_by_text("class 0 · seed 0").is_visible()
    page.wait_for_function("!location.search.includes('abc') && !location.search.includes('label')")


class ManyClasses(Stage):
    """A stage with the digits for a thousand classes with long names."""

    def __init__(self, model):
        kinds = ("great white shark", "écureuil", "black-footed ferret", "owl")
        names = tuple(f"{kinds[label % 4]}, number {label + 5000} of those with a long name" for label in range(1000))
        super().__init__(dataclasses.replace(model, card=dataclasses.replace(model.card, class_names=names)))
        object.__setattr__(self.model.card, "num_classes", 1000)

    def generated(self, choice):
        return super().generated(dataclasses.replace(choice, label=choice.label % 10))


def test_a_class_is_found_by_name_and_number(browser, model):
    from sagan_jax.exploring.page import LAUNCH, Page

    served = Page(ManyClasses(model), None, "runs/animals").build()
    _, address, _ = served.launch(server_name="127.0.0.1", **LAUNCH)
    page = browser.new_page()
    visit(page, address)
    assert page.title() == "digits · step 5,000 · runs/animals · sagan_jax"
    field, options = page.locator("#label input"), page.locator("#label [role=option]")
    assert field.bounding_box()["width"] == page.locator("#stage-image").bounding_box()["width"]
    field.click()
    assert options.count() == 1000
    page.keyboard.type("Ecureuil, number 5997")  # in place of the old name
    assert options.count() == 1
    page.keyboard.press("Enter")
    page.wait_for_function("location.search.includes('label=997')")
    field.fill("42")
    page.keyboard.press("Enter")
    page.wait_for_function("location.search.includes('label=42&')")
    assert field.input_value().startswith("black-footed ferret, number 5042")
    field.fill("zebra")
    assert options.count() == 0
    assert page.get_by_text("no class has “zebra” in its name or as its number").is_visible()
    page.keyboard.press("Escape")
    assert field.input_value().startswith("black-footed ferret")
    page.close()
    served.close()
