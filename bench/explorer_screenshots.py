"""Makes the pictures of the explorer in docs/images, with a real browser, so that they show the page as it is.

python bench/explorer_screenshots.py [--workdir=RUN | --model=DIR] [--query="?label=6&seed=4"] [--out=docs/images]

Without a model it is the one of the digits that comes along. Needs the extras `explore` and `dev`, and Chromium.
docs/explore.md names the run that the pictures in the repository show.
"""

import argparse
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
# At twice the size the file of the desktop would have nearly a megabyte.
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "device_scale_factor": 1.4}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
FOURTH = (0.34, 0.59)  # a click on the desktop, beside the three points that the page suggests


def main() -> None:
    """Writes explore_desktop.png, explore_phone.png and explore_saved.png, and prints their sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", help="folder of a run")
    parser.add_argument("--model", help="portable model")
    parser.add_argument("--query", default="?label=6&seed=4", help="of the page's address; what Copy link copies")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    flags = parser.parse_args()
    source = [f"--{name}={getattr(flags, name)}" for name in ("workdir", "model") if getattr(flags, name)]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sagan_jax.explore", *source, f"--port={port}"]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert program.stdout
        while not (line := program.stdout.readline()).startswith("open "):
            if program.poll() is not None:
                sys.exit("the explorer has ended, see above")
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            take_pictures(browser, line.split()[1] + "/" + flags.query, flags.out)
    finally:
        program.terminate()
    for file in sorted(flags.out.glob("explore_*.png")):
        print(f"{file}  {file.stat().st_size / 1000:.0f} kB")


def take_pictures(browser: Browser, address: str, out: Path) -> None:
    """Takes the page on a desktop after another click, on a phone down to the first layer, and the saved picture."""
    page = opened(browser, address, DESKTOP)
    box = page.locator("#stage-image").bounding_box()
    assert box
    page.mouse.click(box["x"] + FOURTH[0] * box["width"], box["y"] + FOURTH[1] * box["height"])
    page.wait_for_function("document.querySelectorAll('.layer:first-child .map').length === 4")
    page.mouse.move(0, 0)
    page.screenshot(path=out / "explore_desktop.png", full_page=True)
    with page.expect_download() as download:
        page.locator("#save").click()
    download.value.save_as(out / "explore_saved.png")
    phone = opened(browser, address, PHONE)
    layer = phone.locator(".layer").first.bounding_box()
    assert layer
    clip = {"x": 0, "y": 0, "width": PHONE["viewport"]["width"], "height": layer["y"] + layer["height"] + 12}
    phone.screenshot(path=out / "explore_phone.png", full_page=True, clip=clip)


def opened(browser: Browser, address: str, device: dict[str, Any]) -> Page:
    """Opens the page on a device; returns it when it shows its first maps."""
    page = browser.new_page(**device)
    page.goto(address)
    page.wait_for_selector(".map img")
    page.wait_for_timeout(1000)  # until fonts and layout have settled
    return page


if __name__ == "__main__":
    main()
