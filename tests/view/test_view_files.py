from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.errors import DataError, MaskFileError, MissingInputError, OutputError
from unsam_cli.io.masks import ImageMasks
from unsam_cli.view.files import image_loader, named, overlay_paths, write_overlays
from unsam_cli.view.overlays import draw_overlay

Entry = Callable[..., ImageMasks]


def places(entries: list[ImageMasks], out: Path) -> dict[int, Path]:
    return overlay_paths([named(entry.image) for entry in entries], out)


@pytest.fixture
def folder(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    root = tmp_path / "images"
    (root / "a").mkdir(parents=True)
    for name in ("house.png", "house.bmp", "a/house.png"):
        Image.fromarray(photo).save(root / name)
    return root


def test_overlays_are_written_below_the_folder(folder: Path, tmp_path: Path, entry: Entry) -> None:
    entries = [entry(1, "house.png"), entry(2, "house.bmp"), entry(3, "a/house.png")]
    out = tmp_path / "new" / "overlays"
    assert (
        write_overlays(entries, image_loader(folder), places(entries, out), depth=1, opacity=0.4)
        == 3
    )
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert files == ["a/house.png", "house.bmp.png", "house.png"]
    loaded = image_loader(folder)(entries[0].image)
    expected = draw_overlay(loaded, entries[0].annotations, depth=1, opacity=0.4)
    with Image.open(out / "house.png") as written:
        assert (np.asarray(written) == expected).all()


def test_no_overlay_replaces_another(folder: Path, tmp_path: Path, entry: Entry) -> None:
    # The second takes the name that the fourth would fall back to.
    names = ["house.png", "house.bmp.jpg", "house.png", "house.bmp"]
    Image.open(folder / "house.png").convert("RGB").save(folder / "house.bmp.jpg")
    entries = [entry(i, name) for i, name in enumerate(names, start=1)]
    paths = places(entries, tmp_path / "out")
    assert write_overlays(entries, image_loader(folder), paths) == 4
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["house.bmp.4.png", "house.bmp.png", "house.png", "house.png.png"]


def test_large_pictures_are_read_at_a_reduced_size(folder: Path, photo: NDArray[np.uint8]) -> None:
    Image.fromarray(photo).save(folder / "house.jpg")
    entry = {"id": 1, "file_name": "house.jpg", "height": 240, "width": 320}
    assert image_loader(folder)(entry).shape == (240, 320, 3)
    assert image_loader(folder, longest=70)(entry).shape == (60, 80, 3)


def test_an_image_without_a_name(folder: Path) -> None:
    with pytest.raises(MaskFileError, match="image 5: the masks file does not give its file name"):
        image_loader(folder)({"id": 5})


def test_bad_images_are_raised_or_left_out(folder: Path, tmp_path: Path, entry: Entry) -> None:
    entries = [entry(1, "lost.png"), entry(2, "house.png")]
    with pytest.raises(MissingInputError, match=r"lost\.png"):
        write_overlays(entries, image_loader(folder), places(entries, tmp_path))
    bad: list[Any] = []
    count = write_overlays(
        entries,
        image_loader(folder),
        places(entries, tmp_path / "out"),
        on_error=lambda image, error: bad.append((image["id"], type(error))),
    )
    assert (count, bad) == (1, [(1, MissingInputError)])


@pytest.mark.parametrize("name", ["..", "/", "", "a\0.png"])
def test_names_cannot_climb_out(
    name: str, tmp_path: Path, entry: Entry, photo: NDArray[np.uint8]
) -> None:
    entries = [entry(1, name)]
    with pytest.raises(DataError, match="is not a name"):
        write_overlays(entries, lambda image: photo, places(entries, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made(
    tmp_path: Path, entry: Entry, photo: NDArray[np.uint8]
) -> None:
    (tmp_path / "file").touch()
    entries = [entry()]
    paths = places(entries, tmp_path / "file" / "out")
    with pytest.raises(OutputError, match="choose another folder"):
        write_overlays(entries, lambda image: photo, paths)
