"""`unsam view --figure`: a contact sheet for print."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import Invoke

from unsam_cli.errors import UsageError
from unsam_cli.io.masks import Annotation
from unsam_cli.rle import encode
from unsam_cli.view.cells import column_of
from unsam_cli.view.figure import DOTS, Sheet, cell_sizes, draw_figure
from unsam_cli.view.selecting import recall
from unsam_cli.view.sets import Photograph
from unsam_cli.view.settings import FigureSettings

Make = Callable[..., Annotation]
H, W = 96, 128


def entries(*boxes: tuple[int, tuple[int, int, int, int]], **facts: Any) -> list[dict[str, Any]]:
    """Annotations from image ids and boxes x0, y0, x1, y1."""
    found = []
    for number, (image_id, (x0, y0, x1, y1)) in enumerate(boxes, start=1):
        mask = np.zeros((H, W), dtype=np.bool_)
        mask[y0:y1, x0:x1] = True
        rle = encode(mask)
        segmentation = {"size": [H, W], "counts": rle["counts"].decode()}
        found.append({"id": number, "image_id": image_id, "segmentation": segmentation, **facts})
    return found


LEFT, RIGHT = (10, 10, 50, 60), (70, 20, 120, 90)


@pytest.fixture
def files(scenes: Path, tmp_path: Path) -> dict[str, Path]:
    """Masks of four scenes: of the third nothing is found, of the second the half."""
    images = [{"id": i, "file_name": f"{i}.png", "height": H, "width": W} for i in range(1, 5)]
    both = [(i, box) for i in range(1, 5) for box in (LEFT, RIGHT)]
    contents = {
        "truth": entries(*both),
        "ours": entries(*(p for p in both if p[0] in (1, 4) or p == (2, LEFT)), score=0.5),
        "theirs": entries((1, RIGHT), (1, LEFT), (2, LEFT), (4, LEFT), score=0.9),
    }
    for name, found in contents.items():
        text = json.dumps({"images": images, "annotations": found})
        (tmp_path / f"{name}.json").write_text(text)
    return {name: tmp_path / f"{name}.json" for name in contents}


def pixels(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.int64)


def test_a_row_per_file_with_agreeing_colours(
    files: dict[str, Path], scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    figure = tmp_path / "figure.png"
    ran = invoke(
        *("view", files["ours"], files["theirs"], "--images", scenes, "--figure", figure),
        *("--select", "4,1,2", "--columns", "2", "--names", "ours,theirs (2024) $x_1$"),
    )
    assert (ran.exit_code, ran.stdout) == (0, ""), ran.stderr
    sheet = pixels(figure)
    [(w, h), second] = cell_sizes([W / H, W / H], 2)
    assert second == (w, h)
    assert sheet.shape == (2 * (3 * (h + 8) - 8) + 36 + 8, 64 + 8 + 2 * w + 8, 3)

    def at(block: int, row: int, column: int, x: float, y: float) -> NDArray[np.int64]:
        """The pixel of a cell that shows x, y of the scene."""
        top = 4 + block * (3 * (h + 8) - 8 + 36) + row * (h + 8)
        left = 68 + column * (w + 8)
        place = top + round((y + 0.5) * h / H), left + round((x + 0.5) * w / W)
        return np.asarray(sheet[place])

    for x, y in ((30, 50), (100, 75)):  # the second image is 1.png: both masks in both files
        assert np.abs(at(0, 1, 1, x, y) - at(0, 2, 1, x, y)).max() <= 1
        assert np.abs(at(0, 1, 1, x, y) - at(0, 0, 1, x, y)).max() > 15
    assert np.abs(at(0, 2, 0, 100, 75) - at(0, 0, 0, 100, 75)).max() <= 1  # 4.png, theirs: no mask
    assert np.abs(at(0, 1, 0, 100, 75) - at(0, 0, 0, 100, 75)).max() > 15
    border = [at(0, 1, 1, x, 40).min() for x in np.linspace(9, 10, 21)]
    assert max(border) > 180  # a light line, whatever the photograph
    assert (at(1, 0, 1, 60, 60) == 255).all()  # three images: the last place stays empty
    assert (sheet[:, :60] < 100).any()  # labels


def test_the_worst_are_those_of_lowest_recall(
    files: dict[str, Path],
    scenes: Path,
    invoke: Invoke,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unsam_cli.view.figure._WIDTH", 700)

    def chosen(*arguments: object) -> bytes:
        figure = tmp_path / "figure.png"
        ran = invoke("view", files["ours"], "--images", scenes, "--figure", figure, *arguments)
        assert ran.exit_code == 0, ran.stderr
        return figure.read_bytes()

    truth = ("--ground-truth", files["truth"])
    assert chosen(*truth, "--select", "worst", "--columns", 2) == chosen(*truth, "--select", "3,2")
    assert chosen(*truth, "--select", "best", "--columns", 2) == chosen(*truth, "--select", "1,4")
    once = chosen("--columns", 2, "--seed", 5)
    assert once == chosen("--columns", 2, "--seed", 5)
    assert len({chosen("--columns", 2, "--seed", seed) for seed in range(6)}) > 1


def test_a_pdf_has_lines_and_texts_as_vectors(
    files: dict[str, Path], scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    contents = []
    for _ in range(2):
        figure = tmp_path / "figure.pdf"
        ran = invoke("view", files["ours"], "--images", scenes, "--figure", figure, "--select", 1)
        assert ran.exit_code == 0, ran.stderr
        contents.append(figure.read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(b"%PDF")
    streams = re.findall(rb"stream\r?\n(.*?)endstream", contents[0], re.DOTALL)
    unpacked = [zlib.decompress(s) for s in streams if s[:1] == b"x"]
    drawing = next(s for s in unpacked if b" Tj" in s or b" TJ" in s)
    assert drawing.count(b" l\n") >= 8  # two rectangles
    assert b"/Type3" not in contents[0]


def test_near_duplicates_do_not_part_the_colours(make: Make) -> None:
    rgb = np.full((240, 320, 3), 128, dtype=np.uint8)
    # Of three masks of one object the smallest is seen; the largest equals that of the other row.
    many = [make(1, (40, 40, 100, 100)), make(2, (40, 40, 95, 95)), make(3, (40, 40, 90, 90))]
    one = [make(1, (40, 40, 100, 100)), make(2, (200, 40, 50, 50))]
    _, first, second = column_of(Photograph({"id": 1}, (many, one)), rgb, ["", ""])
    assert (first.rgb[60, 60] == second.rgb[60, 60]).all()
    assert (second.rgb[60, 220] != second.rgb[60, 60]).any()


def test_clicks_are_stars_in_the_photograph_and_in_their_row(make: Make, tmp_path: Path) -> None:
    rgb = np.full((240, 320, 3), 128, dtype=np.uint8)
    prompt = {"points": [[99, 119], [250, 20]], "labels": [1, 0]}
    clicked = [make(1, (40, 60, 140, 150), extra={"prompt": prompt, "prompt_id": 1})]
    column = column_of(Photograph({"id": 1}, (clicked, [])), rgb, ["", ""])
    assert [cell.clicks for cell in column] == [[(99.5, 119.5, 1), (250.5, 20.5, 0)]] * 2 + [[]]
    draw_figure(tmp_path / "f.png", Sheet(["photograph", "a", "b"], [[column]]), kind="png")
    sheet = pixels(tmp_path / "f.png")
    for row, drawn in enumerate((True, True, False)):
        star = sheet[4 + row * 248 + 119, 68 + 99]
        assert (np.abs(star - (61, 220, 132)).max() <= 2) == drawn


def test_borders_lie_between_pixels_of_different_masks(make: Make) -> None:
    rgb = np.zeros((240, 320, 3), dtype=np.uint8)
    _, cell = column_of(Photograph({"id": 1}, ([make(1, (40, 60, 100, 50))],)), rgb, [""])
    lines = {tuple(map(tuple, line)) for line in cell.borders.tolist()}
    assert lines == {
        ((40, 60), (40, 110)),
        ((140, 60), (140, 110)),
        ((40, 60), (140, 60)),
        ((40, 110), (140, 110)),
    }


def test_recall_counts_each_mask_once(house: list[Annotation], make: Make) -> None:
    assert recall(house, house) == 1
    assert recall([], house) == 0
    assert recall(house, []) is None
    assert recall([house[0], house[0]], house) == pytest.approx(1 / 5)
    assert recall(house, [make(1, (0, 0, 300, 200), iscrowd=True)]) is None


def test_what_cannot_be_drawn_is_refused(
    files: dict[str, Path], scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    figure = tmp_path / "figure.png"
    start = ("view", files["ours"], "--images", scenes)
    for arguments, code, text in [
        (("--figure", tmp_path / "f.svg"), 2, "give a file name that ends in .png or .pdf"),
        (("--figure", figure, "--select", "9"), 2, "--select 9: the first masks file has no"),
        (("--figure", figure, "--select", "nice"), 2, "--select nice: give best, worst, random"),
        (("--columns", "3"), 2, "--columns has no effect without --figure"),
        (("--figure", figure, "--seed", "3", "--select", "1"), 2, "without --select random"),
        (("--figure", files["ours"]), 2, "would replace it"),
        (("--figure", figure, "--ground-truth", tmp_path / "no.json"), 66, "no.json"),
    ]:
        ran = invoke(*start, *arguments)
        assert (ran.exit_code, text in ran.stderr) == (code, True), ran.stderr
    assert not figure.exists()
    figure.write_text("precious")
    ran = invoke(*start, "--figure", figure, "--no-clobber")
    assert (ran.exit_code, figure.read_text()) == (2, "precious")
    with pytest.raises(UsageError, match="columns is 0"):
        FigureSettings(columns=0)


def test_images_that_cannot_be_read_are_left_out(
    files: dict[str, Path], scenes: Path, invoke: Invoke, tmp_path: Path
) -> None:
    (scenes / "2.png").write_bytes(b"")
    figure = tmp_path / "figure.png"
    start = ("view", files["ours"], "--images", scenes, "--figure", figure, "--select", "1,2")
    assert invoke(*start).exit_code == 65
    assert not figure.exists()
    assert invoke(*start, "--on-error", "skip").exit_code == 3
    assert "2.png" in Path(f"{figure}.errors.jsonl").read_text()
    (w, _), _ = cell_sizes([W / H] * 2, 2)
    assert pixels(figure).shape[1] == 64 + 8 + w  # one photograph


def test_columns_of_all_proportions_fill_the_width() -> None:
    for proportions in ([1.5, 0.7, 1.0], [1.5], [3.0, 3.0]):
        sizes = cell_sizes(proportions, len(proportions))
        heights = {height for _, height in sizes}
        assert len(heights) == 1
        width = sum(w for w, _ in sizes)
        assert heights == {3 * DOTS} or 0.97 * 2010 < width <= 2030
    [(_, height)] = cell_sizes([1.0], 1, rows=5)
    assert 8.9 * DOTS < 5 * (height + 8) <= 9.1 * DOTS  # a page
    assert cell_sizes([1.5], 4)[0][0] < cell_sizes([1.5, 1.5, 1.5, 1.5], 4)[0][0] + 2
