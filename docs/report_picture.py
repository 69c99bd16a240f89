"""Draw pictures of reports for the documentation, in a headless Chromium.

``python docs/report_picture.py REPORT.html TARGET.png IMAGE LEVEL X Y``, after ``make demo``: image
number IMAGE at stop LEVEL of the slider, with the pointer at X, Y of its picture, 0..1.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = {"width": 1280, "height": 800}
SHOWN = (1024, 640)
MOVE = """([level, x, y]) => {
  setLevel(level);
  pointer = { x: view.x + x * current.w * view.scale, y: view.y + y * current.h * view.scale };
  hover(0);
}"""


def main() -> None:
    """Write the picture."""
    report, target = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    image, level, x, y = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), float(sys.argv[6])
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(f"{report.as_uri()}#image={image}")
        page.wait_for_selector('#images [aria-current="true"]')
        page.evaluate(MOVE, [level, x, y])
        page.wait_for_timeout(500)  # the list of masks follows
        shot = page.screenshot()
        browser.close()
    picture = Image.open(io.BytesIO(shot)).convert("RGB").resize(SHOWN, Image.Resampling.LANCZOS)
    picture.quantize(160).save(target, optimize=True)


if __name__ == "__main__":
    main()
