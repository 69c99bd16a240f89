"""Several masks files over the same photographs: in pairs, in a report, in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import click, facts, needs_browser, on_screen, open_report, pinned, pixel
from numpy.typing import NDArray
from support import Invoke

from unsam_cli.errors import UsageError
from unsam_cli.io.masks import Annotation
from unsam_cli.rle import RunTable, close_pairs, encode, iou
from unsam_cli.view.agreement import layers_of, same_objects, shared
from unsam_cli.view.sets import Photograph, names_of

Make = Callable[..., Annotation]
WALL = (40, 60, 140, 150)


def table(*boxes: tuple[int, int, int, int], make: Make) -> RunTable:
    return RunTable.from_rles([make(1, box).rle for box in boxes], size=(240, 320))


def test_close_pairs_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(3)
    scenes = [np.kron(rng.random((9, 5, 6)) < 0.6, np.ones((4, 5))) > 0 for _ in "ab"]
    a, b = ([encode(mask) for mask in scene] for scene in scenes)
    pairs, found = close_pairs(RunTable.from_rles(a), RunTable.from_rles(b), 0.4)
    every = iou(a, b)
    assert 0 < len(pairs) < every.size
    assert pairs.tolist() == np.argwhere(every >= 0.4).tolist()
    np.testing.assert_array_equal(found, every[every >= 0.4])


def test_masks_of_the_same_object_have_one_number(make: Make) -> None:
    first = table(WALL, (220, 40, 60, 160), make=make)
    # Two masks of the wall: only the better one is the wall; the last is new.
    second = table((42, 60, 140, 150), (50, 60, 120, 150), (0, 0, 30, 30), make=make)
    third = table((0, 0, 29, 30), (220, 40, 60, 80), (220, 40, 60, 161), make=make)
    numbers = [found.tolist() for found in same_objects([first, second, third])]
    assert numbers[0] == [0, 1]
    assert numbers[1] == [0, 2, 3]
    assert numbers[2][0] == 3  # as in the second table
    assert numbers[2][1] == 4  # an IoU of exactly a half is not enough
    assert numbers[2][2] == 1


def test_same_objects_have_the_same_colour(make: Make, house: list[Annotation]) -> None:
    theirs = [make(1, (0, 0, 320, 240)), *(make(100 + m.id, tuple(m.bbox)) for m in house)]
    layers = layers_of([house, theirs])
    assert shared(layers) == [5, 5]
    assert layers[1].tree.depths.tolist() == [0, 1, 2, 2, 3, 1]  # all are parts of a new whole
    np.testing.assert_array_equal(layers[0].colours, layers[1].colours[1:])
    np.testing.assert_array_equal(layers[0].colours, layers_of([house])[0].colours)


def test_masks_of_another_resolution_agree_too(make: Make, house: list[Annotation]) -> None:
    small = np.zeros((120, 160), dtype=np.bool_)
    small[30:105, 20:90] = True
    assert shared(layers_of([house, [make(1, small)]])) == [5, 1]
    assert shared(layers_of([[], house])) == [0, 0]


def test_names_are_those_of_files_or_those_given() -> None:
    assert names_of(["a/sam.json", "ours.json.gz"], None) == ["sam", "ours"]
    assert names_of(["a/masks.json", "b/masks.json"], None) == ["a/masks.json", "b/masks.json"]
    assert names_of(["m.json", "m.json"], None) == ["m.json (1)", "m.json (2)"]
    assert names_of(["a.json", "-"], "SAM, ours") == ["SAM", "ours"]
    for wrong in ("one", "same,same", "a,"):
        with pytest.raises(UsageError, match="--names"):
            names_of(["a.json", "b.json"], wrong)


@pytest.fixture
def files(scenes: Path, tmp_path: Path, make: Make) -> list[Path]:
    """Two files of the same scenes whose ids and order differ, and one of other images."""
    contents: list[list[tuple[int, str]]] = [
        [(1, "1.png"), (2, "2.png")],
        [(1, "2.png"), (7, "1.png"), (8, "3.png")],
        [(1, "another.png")],
    ]
    paths = []
    for k, images in enumerate(contents):
        entries = [{"id": i, "file_name": n, "height": 96, "width": 128} for i, n in images]
        mask = np.zeros((96, 128), dtype=np.bool_)
        mask[10:60, 20 : 60 + k] = True
        found = [make(9, mask).to_json(with_id=True) | {"image_id": 1}]
        paths.append(tmp_path / f"file{k}.json")
        paths[-1].write_text(json.dumps({"images": entries, "annotations": found}))
    return paths


def test_images_are_paired_by_name(
    files: list[Path], scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    first, second, strange = files
    arguments = ["view", first, second, "--images", scenes, "-o", report]
    ran = invoke(*arguments, "--names", "one,two")
    assert ran.exit_code == 0, ran.stderr
    assert "file1.json: ignored 1 image that" in ran.stderr
    page = report.read_text()
    assert '["one","two"]' in page
    assert '"counts":[1,0],"shared":[1,0]' in page  # 1.png
    assert '"counts":[0,1],"shared":[0,0]' in page  # 2.png
    ran = invoke("view", first, strange, "--images", scenes, "-o", report)
    assert ran.exit_code == 65
    assert "file2.json: has no image in common with" in ran.stderr
    ran = invoke(*arguments, "--names", "one")
    assert (ran.exit_code, "1 name for 2 files" in ran.stderr) == (2, True)
    ran = invoke("view", first, second, "--images", scenes, "--overlays", tmp_path / "out")
    assert (ran.exit_code, "--overlays takes one masks file" in ran.stderr) == (2, True)


@pytest.fixture
def page(
    browser: Any, tmp_path: Path, house: list[Annotation], make: Make, photo: NDArray[np.uint8]
) -> Iterator[Any]:
    """Two sets: the house with its parts, and a coarser one without the window."""
    other = [make(1, (42, 60, 138, 150), level=0.1), make(2, (60, 140, 30, 70), level=0.4)]
    entry = {"id": 1, "file_name": "house.jpg"}
    photographs = [Photograph(entry, (house, other)), Photograph(entry | {"id": 2}, (house, []))]
    opened = open_report(browser, photographs, tmp_path, photo, names=("fine", "coarse <b>"))
    yield opened
    opened.close()


def yellow(colour: NDArray[np.int64]) -> bool:
    return bool(np.abs(colour - (255, 216, 77)).max() < 70)  # edges are smoothed


class TestInABrowser:
    pytestmark = needs_browser

    def test_the_summary_counts_masks_and_shared_ones(self, page: Any) -> None:
        assert page.locator(".pane-head").all_text_contents() == [
            "fine5 of 5 masks",
            "coarse <b>2 of 2 masks",
        ]
        rows = page.locator("#files td").all_text_contents()
        assert rows == ["5", "\u2013", "2", "2", "10", "\u2013", "2", "2"]

    def test_hover_marks_the_same_place_in_the_other_picture(self, page: Any) -> None:
        cross = (131, 95)  # right of the place, on the arm of the cross
        before = [pixel(page, *cross, pane=pane) for pane in (0, 1)]
        page.mouse.move(*on_screen(page, 125, 95))
        tips = page.locator(".tip")
        assert tips.all_text_contents() == ["mask 14 \u00b7 0.521 %", "mask 1 \u00b7 27 %"]
        assert yellow(pixel(page, *cross, pane=1))
        page.mouse.move(*on_screen(page, 125, 95, pane=1))
        assert yellow(pixel(page, *cross, pane=0))
        assert facts(page)["File"] == "coarse <b>"
        page.mouse.move(2, 2)
        assert tips.nth(0).is_hidden()
        assert tips.nth(1).is_hidden()
        for pane in (0, 1):
            assert not yellow(before[pane])
            assert (pixel(page, *cross, pane=pane) == before[pane]).all()

    def test_a_click_pins_the_same_object_in_both(self, page: Any) -> None:
        click(page, 75, 180, pane=1)
        assert pinned(page) == "Mask 2"
        assert facts(page)["Also in"] == "fine"
        page.mouse.move(2, 2)
        for pane in (0, 1):  # all but the door is darkened
            assert (
                pixel(page, 300, 20, pane=pane).sum() < 0.6 * pixel(page, 75, 180, pane=pane).sum()
            )
        page.keyboard.press("ArrowUp")
        assert pinned(page) == "Mask 1"
        assert page.url.endswith("#image=1&file=2&mask=1")
        click(page, 125, 95)
        assert pinned(page) == "Mask 14"
        assert facts(page)["Also in"] == "none"

    def test_level_and_zoom_are_common(self, page: Any) -> None:
        page.locator("#mode").select_option("level")
        page.locator("#level").fill("1")
        assert page.locator("#level-text").text_content() == "level up to 0.3"
        counts = page.locator(".pane-head span")
        assert counts.all_text_contents() == ["3 of 5 masks", "1 of 2 masks"]
        page.mouse.move(*on_screen(page, 125, 95, pane=1))
        for _ in range(4):
            page.mouse.wheel(0, -100)
        shown = page.evaluate("panes.map((pane) => pixelAt(pointer) >= 0 && pane.hovered >= 0)")
        assert shown == [True, True]
        assert page.evaluate("view.fitted") is False
        page.locator("#next").click()
        page.wait_for_selector("#images button:nth-child(2)[aria-current]")
        assert counts.all_text_contents() == ["3 of 5 masks", "0 of 0 masks"]
