"""Reports in a headless Chromium, for tests."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.view.report import ReportSettings, write_report
from unsam_cli.view.sets import Photograph

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
needs_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH"),
]


@contextmanager
def chromium() -> Iterator[Any]:
    """Start a browser."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


def open_report(
    browser: Any,
    photographs: Iterable[Photograph],
    folder: Path,
    photo: NDArray[np.uint8],
    *,
    names: tuple[str, ...] = ("masks",),
    **context: Any,
) -> Any:
    """Write a report and open it; wait for the first image."""
    path = folder / "report.html"
    with path.open("wb") as out:
        settings = ReportSettings(title="t", names=names)
        write_report(photographs, lambda image: photo, out, settings=settings)
    page = browser.new_page(**{"viewport": {"width": 1200, "height": 800}, **context})
    page.set_default_timeout(10_000)
    page.goto(path.as_uri())
    page.wait_for_selector('#images [aria-current="true"]', state="attached")
    return page


def on_screen(page: Any, x: float, y: float, *, pane: int = 0) -> tuple[float, float]:
    """Where a pixel of the fitted 320 x 240 scene is in the window."""
    box = page.locator(".pane").nth(pane).bounding_box()
    scale = min((box["width"] - 20) / 320, (box["height"] - 20) / 240)
    left = box["x"] + (box["width"] - 320 * scale) / 2
    top = box["y"] + (box["height"] - 240 * scale) / 2
    return left + (x + 0.5) * scale, top + (y + 0.5) * scale


def click(page: Any, x: float, y: float, *, pane: int = 0) -> None:
    page.mouse.move(*on_screen(page, x, y, pane=pane))
    page.mouse.down()
    page.mouse.up()


def pixel(page: Any, x: float, y: float, *, pane: int = 0) -> NDArray[np.int64]:
    """The colour of the screen over a pixel of the scene."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 30)))")
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        column, row = on_screen(page, x, y, pane=pane)
        return np.asarray(shot.convert("RGB").getpixel((int(column), int(row))), dtype=np.int64)


def pinned(page: Any) -> str:
    return str(page.locator("#mask-id").text_content())


def facts(page: Any) -> dict[str, str]:
    names = page.locator("#mask dt").all_text_contents()
    return dict(zip(names, page.locator("#mask dd").all_text_contents(), strict=True))
