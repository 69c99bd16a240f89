"""Large TIFFs at a reduced size: as if the whole page had been decoded and then reduced."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.io import images, segments
from unsam_cli.io.images import read_image
from unsam_cli.io.settings import PixelSettings, reading_with
from unsam_cli.io.tiff import OtherTiff

H, W = 600, 432  # multiples of the factors, so that turned blocks are the same


@pytest.fixture
def rgb() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (H // 4 + 1, W // 4 + 1, 3), dtype=np.uint8)
    return np.kron(small, np.ones((4, 4, 1), np.uint8))[:H, :W].astype(np.uint8)


def whole(path: Path, longest: int) -> NDArray[np.uint8]:
    """Read everything, then take the means of blocks."""
    image = Image.fromarray(read_image(path))
    return np.asarray(image.reduce(max(image.size) // longest))


KINDS: dict[str, dict[str, Any]] = {
    "one strip": {},
    "strips": {"rowsperstrip": 7, "compression": "zlib"},
    "tiles": {"tile": (48, 64), "compression": "zlib"},
    "planes": {"planarconfig": "separate", "rowsperstrip": 100},
    "big-endian": {"byteorder": ">"},
    "turned": {"extratags": [(274, "H", 1, 6, True)]},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("longest", [50, 300])
def test_a_reduced_tiff_is_the_whole_one_reduced(
    tmp_path: Path, rgb: NDArray[np.uint8], kind: str, dtype: Any, longest: int
) -> None:
    path, values = tmp_path / "a.tif", rgb.astype(dtype) * (16 if dtype == np.uint16 else 1)
    stored = np.moveaxis(values, -1, 0) if "planarconfig" in KINDS[kind] else values
    tifffile.imwrite(path, stored, photometric="rgb", **KINDS[kind])
    found = read_image(path, longest=longest)
    wanted = whole(path, longest)
    assert found.shape == wanted.shape
    assert max(found.shape) < max(H, W)
    assert np.abs(found.astype(int) - wanted).max() <= (0 if dtype == np.uint8 else 1)


@pytest.mark.parametrize(
    ("kind", "bands", "dtype"),
    [
        *product(("one strip", "tiles", "turned"), (1, 3), ["u1"]),
        *(("strips", 3, "f4"), ("planes", 3, "u1"), ("planes", 5, "u2"), ("big-endian", 5, "u2")),
    ],
)
def test_a_large_tiff_is_read_in_blocks_as_it_is_read_as_a_whole(
    tmp_path: Path,
    rgb: NDArray[np.uint8],
    kind: str,
    bands: int,
    dtype: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.dstack([rgb, rgb[..., 1::-1]])[..., :bands].astype(dtype)
    values = values * np.array(9 if dtype == "u2" else 1, dtype)
    stored = np.moveaxis(values, -1, 0) if "planarconfig" in KINDS[kind] else np.squeeze(values)
    path = tmp_path / "a.tif"
    how = {"planarconfig": "contig", **KINDS[kind]} if bands > 1 else KINDS[kind]
    tifffile.imwrite(path, stored, photometric="rgb" if bands == 3 else "minisblack", **how)
    wanted = read_image(path)
    monkeypatch.setattr(segments, "LARGE", 0)
    monkeypatch.setattr(images, "_loads", None)
    monkeypatch.setattr(OtherTiff, "read", None)
    found = read_image(path)
    np.testing.assert_array_equal(found, wanted)
    assert found.flags.writeable


def test_bands_and_ranges_of_a_reduced_tiff(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.tif"
    five = np.dstack([rgb, rgb[..., :2]]).astype(np.uint16) * 9
    tifffile.imwrite(path, five, photometric="minisblack", planarconfig="contig")
    for settings in (PixelSettings(bands=(5, 2, 3)), PixelSettings(range=(0, 999), bands=(2,))):
        with reading_with(settings):
            found, wanted = read_image(path, longest=60), whole(path, 60)
            assert np.abs(found.astype(int) - wanted).max() <= 1


def test_a_page_is_not_decoded_as_a_whole(
    tmp_path: Path, rgb: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rgb, photometric="rgb", tile=(48, 64), compression="zlib")
    read: list[int] = []
    decoded = segments._decoded_rows

    def counted(page: Any, stream: Any, top: int, bottom: int) -> NDArray[Any]:
        read.append(bottom - top)
        return decoded(page, stream, top, bottom)

    monkeypatch.setattr(segments, "_decoded_rows", counted)
    monkeypatch.setattr(images, "_loads", None)
    read_image(path, longest=60)
    assert sum(read) == H
    assert max(read) < H // 2


def test_transparency_and_small_reductions_are_left_to_others(
    tmp_path: Path, rgb: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rgb, photometric="rgb")
    assert read_image(path, longest=400).shape == rgb.shape
    alpha = np.dstack([rgb, np.full((H, W), 255, np.uint8)])
    tifffile.imwrite(path, alpha, photometric="rgb", extrasamples=["unassalpha"])
    assert read_image(path, longest=50).shape == rgb.shape


@pytest.mark.parametrize("bits", [1, 4])
def test_values_of_parts_of_bytes_are_left_to_pillow(
    tmp_path: Path, rgb: NDArray[np.uint8], bits: int
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rgb[:, : W * bits // 8, 0], photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+") as file:
        page: Any = file.pages[0]
        page.tags["ImageWidth"].overwrite(W)
        page.tags["BitsPerSample"].overwrite(bits)
    assert read_image(path).max() == 255
    np.testing.assert_array_equal(read_image(path, longest=50), read_image(path))
