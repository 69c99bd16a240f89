from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import click, facts, needs_browser, on_screen, open_report, pinned, pixel
from numpy.typing import NDArray

from unsam_cli.errors import ImageFileError
from unsam_cli.io.masks import Annotation
from unsam_cli.rle import encode, to_runs
from unsam_cli.view.report import ReportSettings, write_report
from unsam_cli.view.sets import Photograph

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = needs_browser
Entry = Callable[..., Photograph]
HOSTILE = "</script><img src=x onerror=alert(1)>.jpg"


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def page(
    browser: Any,
    tmp_path: Path,
    photograph: Entry,
    plain_house: list[Annotation],
    photo: NDArray[np.uint8],
    complaints: list[str],
) -> Iterator[Any]:
    """A report of four images, watched for errors and requests until the end of the test."""

    def load(image: dict[str, Any]) -> NDArray[np.uint8]:
        if image["file_name"] == "lost.jpg":
            raise ImageFileError("lost.jpg: no such image")
        return photo

    entries = [
        photograph(1, "house.jpg"),
        Photograph({"id": 2, "file_name": HOSTILE}, (plain_house,)),
        photograph(3, "lost.jpg"),
        Photograph({"id": 4, "file_name": "bare.jpg"}, ([],)),
    ]
    path = tmp_path / "a report & more.html"
    with path.open("wb") as out:
        settings = ReportSettings(title="masks.json")
        write_report(entries, load, out, settings=settings, on_error=lambda image, error: None)
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.set_default_timeout(10_000)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: _dismiss(dialog, complaints))
    page.on("request", lambda request: _note_request(request.url, path.as_uri(), complaints))
    page.goto(path.as_uri())
    wait_for_image(page, 1)
    yield page
    page.close()
    assert complaints == []


def _dismiss(dialog: Any, complaints: list[str]) -> None:
    complaints.append(dialog.message)
    dialog.dismiss()


def _note_request(url: str, own: str, complaints: list[str]) -> None:
    if not url.startswith("data:") and url.partition("#")[0] != own:
        complaints.append(f"request of {url}")


def wait_for_image(page: Any, number: int) -> None:
    sync_api.expect(page.locator("#position")).to_have_text(f"{number} / 4")


def test_click_shows_the_facts_of_the_smallest_mask(page: Any) -> None:
    click(page, 120, 90)
    assert pinned(page) == "Mask 14"
    assert facts(page) == {
        "Parent": "13",
        "Stage": "conquer",
        "Level": "0.6",
        "Granularity": "0.1",
        "Score": "0.5",
        "Area": "400 px \u00b7 0.521 %",
        "Box": "115, 85, 20, 20",
        "Depth": "2",
    }
    crumbs = page.locator("#crumbs li").all_text_contents()
    assert crumbs == ["house.jpg", "11", "13", "Mask 14"]
    assert page.url.endswith("#image=1&mask=14")


def test_clicking_again_and_keys_walk_the_hierarchy(page: Any) -> None:
    for expected in ("14", "13", "11", "14"):
        click(page, 120, 90)
        assert pinned(page) == f"Mask {expected}"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")  # the house is a whole: stays
    assert pinned(page) == "Mask 11"
    page.keyboard.press("ArrowDown")
    assert pinned(page) == "Mask 13"  # the pointer is over the window
    page.locator(".chip", has_text="14").click()
    assert pinned(page) == "Mask 14"
    page.keyboard.press("Escape")
    assert page.locator("#mask-id").count() == 0
    click(page, 75, 180)
    assert pinned(page) == "Mask 12"
    click(page, 5, 5)
    assert page.locator("#mask-id").count() == 0


def test_hover_names_the_mask_without_pinning_it(page: Any) -> None:
    page.mouse.move(*on_screen(page, 75, 180))
    page.wait_for_selector("#mask-id")
    assert pinned(page) == "Mask 12"
    assert page.locator(".tip").text_content() == "mask 12 \u00b7 2.73 %"
    page.mouse.move(*on_screen(page, 300, 20))
    assert page.locator("#mask-id").count() == 0
    assert page.locator(".tip").is_hidden()


def test_slider_reveals_parts_level_by_level(page: Any) -> None:
    text = page.locator("#level-text")
    assert text.text_content() == "depth 2 \u00b7 5 of 5 masks"
    assert (pixel(page, 125, 95) != pixel(page, 125, 120)).any()
    page.locator("#level").fill("0")
    assert text.text_content() == "depth 0 \u00b7 2 of 5 masks"
    click(page, 120, 90)
    assert pinned(page) == "Mask 11"
    page.keyboard.press("Escape")
    page.keyboard.press("]")
    assert text.text_content() == "depth 1 \u00b7 4 of 5 masks"
    page.keyboard.press("ArrowDown")
    assert text.text_content() == "depth 2 \u00b7 5 of 5 masks"
    page.keyboard.press("ArrowUp")
    click(page, 120, 90)
    assert pinned(page) == "Mask 13"
    page.locator("#mode").select_option("granularity")
    page.locator("#level").fill("0")
    assert text.text_content() == "granularity from 1 \u00b7 2 of 5 masks"
    page.locator("#level").fill("12")
    assert text.text_content() == "granularity from 0.4 \u00b7 4 of 5 masks"
    page.locator("#mode").select_option("level")
    page.locator("#level").fill("1")
    assert text.text_content() == "level up to 0.3 \u00b7 3 of 5 masks"


def test_masks_are_drawn_and_can_be_hidden(page: Any, photo: NDArray[np.uint8]) -> None:
    beside, inside = (300, 20), (75, 170)
    assert np.abs(pixel(page, *beside) - photo[20, 300]).max() < 12
    drawn = pixel(page, *inside)
    assert np.abs(drawn - photo[170, 75]).max() > 25
    page.keyboard.press("Space")
    assert np.abs(pixel(page, *inside) - photo[170, 75]).max() < 12
    page.keyboard.press(" ")
    assert (pixel(page, *inside) == drawn).all()
    page.locator("#opacity").fill("0")
    assert np.abs(pixel(page, *inside) - photo[170, 75]).max() < 12
    border = pixel(page, 59.5, 180)  # between the door and its wall
    page.keyboard.press("b")
    assert (pixel(page, 59.5, 180) != border).any()


def test_search_by_id_and_by_name(page: Any) -> None:
    page.keyboard.press("/")
    page.keyboard.type("14")
    options = page.locator("#results li")
    assert options.count() == 3
    assert options.nth(0).text_content() == "Mask 14house.jpg"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wait_for_image(page, 2)
    page.wait_for_selector("#mask-id")
    assert pinned(page) == "Mask 14"
    assert facts(page)["Parent"] == "13"
    page.keyboard.press("/")
    page.keyboard.type("HOUSE")
    page.keyboard.press("Enter")
    wait_for_image(page, 1)
    page.keyboard.press("/")
    page.keyboard.type("nothing like it")
    assert options.all_text_contents() == ["Nothing found"]
    page.keyboard.press("Escape")
    assert page.locator("#results").is_hidden()


def test_hostile_names_are_shown_as_text(page: Any) -> None:
    page.keyboard.press("ArrowRight")
    wait_for_image(page, 2)
    assert page.locator("#image-name").text_content() == HOSTILE
    assert page.locator("img[src=x]").count() == 0


def test_missing_pictures_and_missing_masks(page: Any) -> None:
    page.locator(".thumb").nth(2).click()
    wait_for_image(page, 3)
    assert page.locator("#message").text_content() == "lost.jpg: no such image"
    click(page, 75, 180)
    assert pinned(page) == "Mask 12"
    page.keyboard.press("ArrowRight")
    wait_for_image(page, 4)
    assert page.locator("#message").is_hidden()
    assert page.locator("#level-text").text_content() == "0 of 0 masks"
    page.keyboard.press("n")
    page.keyboard.press("ArrowDown")
    assert page.locator("#next").is_disabled()


def test_stepping_through_masks_and_help(page: Any) -> None:
    page.mouse.move(1, 1)
    seen = []
    for _ in range(6):
        page.keyboard.press("n")
        seen.append(pinned(page))
    assert seen == [f"Mask {number}" for number in (11, 15, 13, 12, 14, 11)]
    page.keyboard.press("p")
    assert pinned(page) == "Mask 14"
    assert page.locator("#status").text_content() == "Mask 14 pinned"
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()
    assert pinned(page) == "Mask 14"


def test_zoom_keeps_the_pixel_under_the_pointer(page: Any) -> None:
    click(page, 120, 90)
    for _ in range(6):
        page.mouse.wheel(0, -100)
    page.mouse.move(*on_screen(page, 120.2, 90))
    assert str(page.locator(".tip").text_content()).startswith("mask 14")
    page.mouse.move(*on_screen(page, 105, 90))  # was the wall; now further in, the window
    assert str(page.locator(".tip").text_content()).startswith(("mask 13", "mask 14"))
    page.keyboard.press("0")
    page.mouse.move(*on_screen(page, 105, 91))
    assert str(page.locator(".tip").text_content()).startswith("mask 11")


def test_address_opens_image_and_mask(page: Any, complaints: list[str]) -> None:
    page.evaluate("location.hash = 'image=2&mask=12'")
    wait_for_image(page, 2)
    page.wait_for_selector("#mask-id")
    assert pinned(page) == "Mask 12"


def test_run_lengths_are_decoded_as_in_the_library(page: Any) -> None:
    rng = np.random.default_rng(0)
    for density in (0.0, 0.02, 0.5, 0.98, 1.0):
        noise = rng.random((37, 53)) < density
        blocks = np.kron(rng.random((5, 9)) < density, np.ones((40, 30))).astype(bool)
        for mask in (noise, blocks):
            rle = encode(mask)
            runs = page.evaluate("(counts) => [...decodeRuns(counts)]", rle["counts"].decode())
            assert runs == to_runs(rle).ravel().tolist()
            probes = [0, mask.size // 2, mask.size - 1]
            covered = page.evaluate(
                "([counts, at]) => at.map((p) => covers(decodeRuns(counts), p))",
                [rle["counts"].decode(), probes],
            )
            assert covered == mask.ravel(order="F")[probes].tolist()


def test_names_are_unique_and_controls_are_labelled(page: Any) -> None:
    html = page.content()
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    unlabelled = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select")].filter((node) =>
            !(node.textContent.trim() || node.ariaLabel || node.labels?.length)).length"""
    )
    assert unlabelled == 0


def test_a_crowded_picture_opens_with_few_masks(
    browser: Any, tmp_path: Path, make: Callable[..., Annotation], photo: NDArray[np.uint8]
) -> None:
    """Coarse ones; the slider shows the rest, and stays where it was moved to."""
    masks = [
        make(number, (3 * number % 300, 3 * number // 300 * 20, 12, 12), granularity=number / 100)
        for number in range(1, 101)
    ]
    entries = [Photograph({"id": n, "file_name": f"{n}.jpg"}, (masks,)) for n in (1, 2)]
    page = open_report(browser, entries, tmp_path, photo)
    text = page.locator("#level-text")
    sync_api.expect(text).to_have_text("granularity from 0.55 \u00b7 46 of 100 masks")
    page.locator("#level").fill("18")
    page.locator("#next").click()
    sync_api.expect(page.locator("#position")).to_have_text("2 / 2")
    sync_api.expect(text).to_have_text("granularity from 0.1 \u00b7 91 of 100 masks")
    page.close()


def test_the_slider_moves_the_granularity_of_a_click(
    browser: Any, tmp_path: Path, make: Callable[..., Annotation], photo: NDArray[np.uint8]
) -> None:
    """One click, asked for three times: one answer at a time, and any other mask stays."""
    sides, masks = {0.1: 20, 0.5: 60, 1.0: 120}, [make(9, (250, 20, 30, 30), granularity=1.0)]
    for number, (g, side) in enumerate(sides.items(), start=1):
        prompt = {"points": [[120, 120]], "labels": [1], "granularity": g}
        box = (120 - side // 2, 120 - side // 2, side, side)
        masks.append(make(number, box, granularity=g, extra={"prompt": prompt}))
    entries = [Photograph({"id": n, "file_name": f"{n}.jpg"}, (masks * (n == 2),)) for n in (1, 2)]
    page = open_report(browser, entries, tmp_path, photo)
    sync_api.expect(page.locator("#position")).to_have_text("2 / 2")  # the first with masks
    assert page.locator("#mode").input_value() == "granularity"
    for value, mask, text in [
        ("18", "Mask 1", "granularity from 0.1"),
        ("10", "Mask 2", "granularity from 0.5"),
        ("5", "Mask 3", "granularity from 0.75"),
    ]:
        page.locator("#level").fill(value)
        assert page.locator("#level-text").text_content() == f"{text} \u00b7 2 of 4 masks"
        click(page, 120, 120)
        assert pinned(page) == mask
        page.keyboard.press("Escape")
    page.locator("#mode").select_option("depth")
    assert page.locator("#level-text").text_content() == "depth 2 \u00b7 4 of 4 masks"
    page.close()


def test_a_pinned_mask_shows_what_it_was_asked_for_with(
    browser: Any, tmp_path: Path, make: Callable[..., Annotation], photo: NDArray[np.uint8]
) -> None:
    prompt = {"points": [[99, 119], [250, 20]], "labels": [1, 0], "box": [40, 60, 180, 210]}
    masks = [make(1, (40, 60, 140, 150), extra={"prompt": prompt})]
    page = open_report(
        browser, [Photograph({"id": 1, "file_name": "a.jpg"}, (masks,))], tmp_path, photo
    )
    sync_api.expect(page.locator("#position")).to_have_text("1 / 1")
    colours = {(99, 119): (61, 220, 132), (250, 20): (255, 90, 95)}
    for at, colour in colours.items():
        assert np.abs(pixel(page, *at) - colour).max() > 30
    click(page, 120, 90)
    page.mouse.move(5, 5)
    for at, colour in colours.items():
        assert np.abs(pixel(page, *at) - colour).max() <= 3
    page.close()
