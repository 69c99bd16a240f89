"""Rectangles of large pictures: as if the whole picture had been read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.errors import ImageFileError
from unsam_cli.io import segment_rows, segments, windows
from unsam_cli.io.images import read_image
from unsam_cli.io.windows import Windows, open_windows, part, read, reduced, shrunk

H, W = 500, 300
BOXES = [(0, 0, W, 100), (20, 90, 64, 110), (200, 90, 100, 110), (7, 350, 99, 150), (5, 3, 9, 9)]


@pytest.fixture
def rgb() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (H, W, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "LARGE", 10_000)
    monkeypatch.setattr(segments, "_ROWS", 32)


def written(path: Path, kind: str, rgb: NDArray[np.uint8]) -> Path:
    turned: dict[str, Any] = {"extratags": [(274, "H", 1, 6, True)]}
    how: dict[str, dict[str, Any]] = {
        "strips.tif": {"rowsperstrip": 7, "compression": "zlib"},
        "tiles.tif": {"tile": (48, 64), "compression": "zlib"},
        "turned.tif": {"tile": (48, 64), **turned},
        "deep.tif": {"tile": (48, 64)},
        "alpha.tif": {"tile": (48, 64), "extrasamples": ["unassalpha"]},
    }
    if kind not in how:
        Image.fromarray(rgb).convert("L" if kind == "grey.png" else "RGB").save(path / kind)
    else:
        values = rgb.astype(np.uint16) * 5 if kind == "deep.tif" else rgb
        values = (
            np.dstack([rgb, (rgb[..., 0] > 50) * rgb[..., 1]]) if kind == "alpha.tif" else values
        )
        tifffile.imwrite(path / kind, values, photometric="rgb", **how[kind])
    return path / kind


KINDS = [
    "strips.tif",
    "tiles.tif",
    "turned.tif",
    "deep.tif",
    "alpha.tif",
    "a.png",
    "grey.png",
    "a.jpg",
]


@pytest.mark.parametrize("kind", KINDS)
def test_rectangles_are_those_of_the_whole(
    tmp_path: Path, rgb: NDArray[np.uint8], kind: str
) -> None:
    path = written(tmp_path, kind, rgb)
    wanted, found = read_image(path), open_windows(path)
    assert isinstance(found, Windows)
    assert found.shape == wanted.shape
    for x, y, w, h in BOXES:
        w, h = min(w, wanted.shape[1] - x), min(h, wanted.shape[0] - y)
        if min(w, h) > 0:
            np.testing.assert_array_equal(read(found, (x, y, w, h)), wanted[y : y + h, x : x + w])
    found.close()
    np.testing.assert_array_equal(read(found, (1, 2, 3, 4)), wanted[2:6, 1:4])
    inner = part(found, (10, 20, 200, 240))
    assert isinstance(inner, Windows)
    np.testing.assert_array_equal(inner.read((5, 6, 7, 8)), wanted[26:34, 15:22])
    few = part(found, (10, 20, 50, 60))
    np.testing.assert_array_equal(few, wanted[20:80, 10:60])


def test_segments_are_decoded_once_and_only_where_rectangles_are(
    tmp_path: Path, rgb: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "tiles.tif", rgb)
    cells: list[tuple[int, int]] = []
    decode = segment_rows.rows_of

    def counted(page: Any, stream: Any, top: int, bottom: int, columns: slice) -> NDArray[Any]:
        assert (bottom - top, columns.stop - columns.start) <= (48, 64)
        cells.append((top, columns.start))
        return decode(page, stream, top, bottom, columns)

    monkeypatch.setattr(segments, "rows_of", counted)
    found = open_windows(path)
    assert cells == []
    read(found, (150, 300, 30, 20))
    assert cells == [(288, 128)]
    cells.clear()
    for top in range(0, H - 100 + 1, 50):
        for x in (0, 100, 200):
            read(found, (x, top, 100, 100))
    assert sorted(cells) == [(y, x) for y in range(0, H, 48) for x in range(0, W, 64)]
    assert len(found._cells) <= 4 * 5  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["tiles.tif", "a.png"])
@pytest.mark.parametrize("size", [(64, 38), (37, 291), (499, 3), (600, 360), (H, W)])
def test_a_picture_is_shrunk_in_bands_as_it_is_as_a_whole(
    tmp_path: Path,
    rgb: NDArray[np.uint8],
    kind: str,
    size: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(windows, "_STRIP", 8000)
    path = written(tmp_path, kind, rgb)
    wanted = shrunk(read_image(path), size)
    assert wanted.shape == (*size, 3)
    found = shrunk(open_windows(path), size)
    assert np.abs(found.astype(int) - wanted).max() <= 1
    assert (found != wanted).mean() < (1e-3 if size[0] < H else 0.1)  # many halves are rounded


@pytest.mark.parametrize("kind", ["tiles.tif", "a.png"])
def test_a_rectangle_is_reduced_in_bands_as_it_is_as_a_whole(
    tmp_path: Path, rgb: NDArray[np.uint8], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "_STRIP", 8000)
    found = reduced(open_windows(written(tmp_path, kind, rgb)), (11, 20, 203, 331), 3)
    wanted = np.asarray(Image.fromarray(rgb[20:351, 11:214]).reduce(3))
    np.testing.assert_array_equal(found, wanted)


def test_a_damaged_file_is_decoded_once(
    tmp_path: Path, rgb: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "a.png", rgb)
    path.write_bytes(path.read_bytes()[:2000])
    found = open_windows(path)
    with pytest.raises(ImageFileError, match=r"a\.png: damaged image"):
        read(found, (0, 0, 5, 5))
    monkeypatch.setattr(windows, "whole_image", None)
    with pytest.raises(ImageFileError, match=r"a\.png: damaged image"):
        read(found, (0, 0, 5, 5))


def test_few_pixels_are_an_array(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    small = rgb[:50, :60]
    stream = io.BytesIO()
    Image.fromarray(small).save(stream, "PNG")
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    found = open_windows(tmp_path / "a.png")
    np.testing.assert_array_equal(found, small)
    assert np.shares_memory(read(found, (1, 2, 3, 4)), found)
