"""The report's tools, in a browser: where it opens, filters, list, crumbs, export, fingers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import click, needs_browser, on_screen, open_report, pinned
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.io.masks import Annotation
from unsam_cli.view.sets import Photograph

pytestmark = needs_browser
Make = Callable[..., Annotation]
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
}


@pytest.fixture
def page(
    browser: Any, tmp_path: Path, house: list[Annotation], photo: NDArray[np.uint8]
) -> Iterator[Any]:
    photographs = [Photograph({"id": n, "file_name": f"{n}.house.jpg"}, (house,)) for n in (1, 2)]
    opened = open_report(browser, photographs, tmp_path, photo, color_scheme="dark")
    yield opened
    opened.close()


def listed(page: Any) -> list[str]:
    while page.evaluate("waiting"):  # the list waits until the slider rests
        page.wait_for_timeout(20)
    return [text.removeprefix("Mask ") for text in page.locator("#masks .row").all_text_contents()]


def opened_with(
    browser: Any, folder: Path, photo: NDArray[np.uint8], *sets: list[Annotation]
) -> tuple[str, list[int]]:
    """The order that a report opens with, and how many masks it shows of each set."""
    names = tuple(f"set {k}" for k in range(len(sets)))
    entry = Photograph({"id": 1, "file_name": "a.jpg"}, sets)
    page = open_report(browser, [entry], folder, photo, names=names)
    found = (
        page.locator("#mode").input_value(),
        page.evaluate("panes.map((pane) => pane.cut.count)"),
    )
    page.close()
    return found


def many(make: Make, count: int, **facts: Callable[[int], float]) -> list[Annotation]:
    """Small masks; each fact is computed from the number of the mask, from 0."""
    return [
        make(
            1 + n,
            (3 * n % 300, 3 * n // 300 * 20, 12, 12),
            **{name: value(n) for name, value in facts.items()},
        )
        for n in range(count)
    ]


def test_opens_with_few_masks_whatever_they_say_of_themselves(
    browser: Any, tmp_path: Path, make: Make, photo: NDArray[np.uint8]
) -> None:
    # All are about as coarse: no granularity shows between 9 and 60, but merge levels do.
    levels = many(make, 100, granularity=lambda n: 0.97 + n / 1e4, level=lambda n: n / 100)
    assert opened_with(browser, tmp_path, photo, levels) == ("level", [50])
    scores = many(make, 100, score=lambda n: (n + 0.5) / 100)
    assert opened_with(browser, tmp_path, photo, scores) == ("depth", [59])
    # Masks that say nothing are always shown, and do not keep the others from opening well.
    bare = many(make, 80)
    fine = many(make, 100, granularity=lambda n: (n + 1) / 100, score=lambda n: n / 100)
    assert opened_with(browser, tmp_path, photo, bare, fine) == ("granularity", [80, 46])


def test_the_list_is_sorted_and_pins(page: Any) -> None:
    assert listed(page) == ["1127.3 %", "1512.5 %", "133.26 %", "122.73 %", "140.521 %"]
    page.locator("#sort").select_option("level")
    assert [text[:2] for text in listed(page)] == ["14", "12", "13", "11", "15"]
    page.locator("#masks .row").nth(1).click()
    assert pinned(page) == "Mask 12"
    assert page.locator('#masks [aria-current="true"]').count() == 1
    page.mouse.move(2, 2)
    page.locator("#level").fill("0")
    assert [text[:2] for text in listed(page)] == ["11", "15"]
    assert page.locator("#masks-count").text_content() == "2 masks shown"


def test_a_long_list_is_cut(
    browser: Any, tmp_path: Path, make: Make, photo: NDArray[np.uint8]
) -> None:
    entry = Photograph({"id": 1, "file_name": "a.jpg"}, (many(make, 230),))
    page = open_report(browser, [entry], tmp_path, photo)
    assert len(listed(page)) == 200
    page.locator("#masks-more").click()
    assert len(listed(page)) == 230
    assert page.locator("#masks-more").is_hidden()
    page.close()


def test_filters_by_area_and_stage(page: Any) -> None:
    page.locator("#area").fill("7")
    assert page.locator("#area-text").text_content() == "1 %"
    assert [text[:2] for text in listed(page)] == ["11", "15", "13", "12"]
    page.locator("#stage-of").select_option("conquer")
    assert [text[:2] for text in listed(page)] == ["13", "12"]
    page.locator("#next").click()
    page.wait_for_selector("#images button:nth-child(2)[aria-current]")
    assert [text[:2] for text in listed(page)] == ["13", "12"]  # filters stay


def test_crumbs_lead_from_the_part_to_the_whole(page: Any) -> None:
    click(page, 120, 90)
    crumbs = page.locator("#crumbs li")
    assert crumbs.all_text_contents() == ["1.house.jpg", "11", "13", "Mask 14"]
    page.locator("#crumbs button", has_text="11").click()
    assert pinned(page) == "Mask 11"
    assert crumbs.all_text_contents() == ["1.house.jpg", "Mask 11"]
    crumbs.first.locator("button").click()
    assert crumbs.all_text_contents() == ["1.house.jpg"]
    assert page.locator("#mask-id").count() == 0


def test_exports_are_pictures_of_the_mask(page: Any, photo: NDArray[np.uint8]) -> None:
    def saved(button: str, name: str) -> NDArray[np.uint8]:
        with page.expect_download() as started:
            page.get_by_role("button", name=button).click()
        assert started.value.suggested_filename == name
        with Image.open(io.BytesIO(Path(started.value.path()).read_bytes())) as picture:
            return np.asarray(picture)

    click(page, 75, 180)  # the door: 60, 140, 30, 70
    mask = saved("Mask (PNG)", "1.house-12-mask.png")
    assert mask.shape[:2] == (240, 320)
    inside = np.zeros((240, 320), dtype=np.bool_)
    inside[140:210, 60:90] = True
    assert (mask[..., 0] == np.where(inside, 255, 0)).all()
    cut_out = saved("Cut-out (PNG)", "1.house-12-cutout.png")
    assert cut_out.shape == (70, 30, 4)
    assert (cut_out[..., 3] == 255).all()
    difference = cut_out[..., :3].astype(int) - photo[140:210, 60:90]
    assert np.abs(difference).mean() < 8  # a JPEG
    click(page, 250, 100)
    assert saved("Cut-out (PNG)", "1.house-15-cutout.png").shape == (160, 60, 4)


def test_light_and_dark(page: Any) -> None:
    def ground() -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))

    button = page.locator("#theme")
    assert ground() < 120  # as the system
    button.click()
    assert ground() > 600
    page.keyboard.press("t")
    assert ground() < 120
    page.emulate_media(color_scheme="light")
    assert ground() < 120
    page.keyboard.press("t")
    assert ground() > 600
    assert button.get_attribute("aria-label") == "Colours: as the system"


def test_two_fingers_zoom_and_move(
    browser: Any, tmp_path: Path, house: list[Annotation], photo: NDArray[np.uint8]
) -> None:
    entry = Photograph({"id": 1, "file_name": "a.jpg"}, (house,))
    page = open_report(browser, [entry], tmp_path, photo, **PHONE)
    touch = page.context.new_cdp_session(page)
    x, y = on_screen(page, 75, 180)

    def fingers(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": px, "y": py, "id": k} for k, (px, py) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    before = page.evaluate("view.scale")
    fingers("touchStart", (x - 20, y))
    fingers("touchStart", (x - 20, y), (x + 20, y))
    fingers("touchMove", (x - 40, y), (x + 40, y))
    fingers("touchEnd", (x - 40, y))
    fingers("touchEnd")
    assert page.evaluate("view.scale") == pytest.approx(2 * before, rel=0.02)
    assert page.locator("#mask-id").count() == 0  # no click
    page.touchscreen.tap(x, y)  # the place between the fingers is still the door
    assert pinned(page) == "Mask 12"
    page.close()


def test_targets_are_large_enough_for_fingers(
    browser: Any, tmp_path: Path, house: list[Annotation], photo: NDArray[np.uint8]
) -> None:
    entries = [Photograph({"id": n, "file_name": "a.jpg"}, (house, house)) for n in (1, 2)]
    page = open_report(browser, entries, tmp_path, photo, names=("a", "b"), **PHONE)
    page.touchscreen.tap(*on_screen(page, 120, 90))
    assert pinned(page) == "Mask 14"
    small = page.evaluate(
        """[...document.querySelectorAll("button, select, input, .switches label")]
            .filter((node) => node.type !== "checkbox") // its label is the target
            .filter((node) => node.offsetParent)
            .map((node) => [node.id || node.textContent, node.getBoundingClientRect()])
            .filter(([, box]) => box.width < 44 || box.height < 44).map(([name]) => name)"""
    )
    assert small == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.close()


@pytest.mark.parametrize("phone", [False, True])
def test_axe_finds_nothing(
    phone: bool, browser: Any, tmp_path: Path, house: list[Annotation], photo: NDArray[np.uint8]
) -> None:
    pytest.importorskip("axe_playwright_python")
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
    entries = [Photograph({"id": n, "file_name": "a.jpg"}, (house, house[:2])) for n in (1, 2)]
    size: dict[str, Any] = PHONE if phone else {"viewport": {"width": 1400, "height": 900}}
    page = open_report(browser, entries, tmp_path, photo, names=("a", "b"), **size)
    page.evaluate(f"{axe}; undefined")
    page.evaluate("pin(0, 4)")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        found = page.evaluate("axe.run()")
        assert [(rule["id"], rule["nodes"][0]["target"]) for rule in found["violations"]] == []
        assert len(found["passes"]) > 20
    page.close()
