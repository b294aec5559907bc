"""The top of a run's report page as Chromium shows it: the image of README (make figures)."""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from dgaug.files import whole

SIZE = {"width": 1280, "height": 940}
SHOWN = ".cell[data-row='0'][data-column='5']"
"""A cell whose donors are two people."""
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def main() -> None:
    """Write the image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="report.html of a run")
    parser.add_argument("out", type=Path, help="the PNG")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(arguments.page.resolve().as_uri())
        page.locator(SHOWN).hover()
        content = page.screenshot()
        browser.close()
    # 256 colours are a third of the bytes, and enough for an image that is shown at half its width.
    image = Image.open(io.BytesIO(content)).convert("RGB").quantize(256)
    with whole(arguments.out) as aside:
        image.save(aside, format="PNG", optimize=True)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
