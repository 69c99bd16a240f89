"""Large TIFFs at a reduced size: as if the whole page had been decoded and then reduced."""

from __future__ import annotations

import io
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.io import images, segment_rows, segments
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


def as_jpeg(rgb: NDArray[np.uint8], mode: str) -> bytes:
    options: dict[str, dict[str, Any]] = {
        "rgb": {"keep_rgb": True},
        "ycbcr": {"subsampling": "4:2:0"},
    }
    stream, how = io.BytesIO(), options.get(mode, {})
    image = Image.fromarray(rgb).convert("L" if mode == "grey" else "RGB")
    image.save(stream, "JPEG", quality=80, **how)
    return stream.getvalue()


def save_jpegs(path: Path, rgb: NDArray[np.uint8], mode: str, tile: tuple[int, int] | None) -> None:
    """Write a TIFF whose tiles, or else strips, are JPEGs; tifffile alone does not encode them."""
    high, wide = tile or (48, W)
    padded = np.pad(rgb, ((0, -H % high), (0, -W % wide), (0, 0)))
    parts = [
        as_jpeg(padded[y : y + high, x : x + wide], mode)
        for y, x in product(range(0, H, high), range(0, W, wide))
    ]
    how: dict[str, Any] = {"rowsperstrip": high} if tile is None else {"tile": tile}
    tifffile.imwrite(
        *(path, iter(parts)),
        shape=(H, W) if mode == "grey" else (H, W, 3),
        dtype=np.uint8,
        photometric="minisblack" if mode == "grey" else "rgb",
        compression="zlib",
        extratags=[(530, "H", 2, (2, 2), True)] if mode == "ycbcr" else [],
        **how,
    )
    with tifffile.TiffFile(path, mode="r+") as file:
        page: Any = file.pages[0]
        page.tags["Compression"].overwrite(7)
        if mode == "ycbcr":
            page.tags["PhotometricInterpretation"].overwrite(6)


@pytest.mark.parametrize("mode", ["ycbcr", "grey", "rgb"])
@pytest.mark.parametrize("tile", [(48, 64), None])
def test_jpegs_in_a_tiff_are_decoded_one_by_one(
    tmp_path: Path,
    rgb: NDArray[np.uint8],
    mode: str,
    tile: tuple[int, int] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "a.tif"
    save_jpegs(path, rgb, mode, tile)
    wanted, reduced = read_image(path), whole(path, 50)
    seen = rgb if mode != "grey" else np.asarray(Image.fromarray(rgb).convert("L"))[..., None]
    assert np.abs(wanted.astype(int) - seen).mean() < 25
    monkeypatch.setattr(segments, "LARGE", 0)
    monkeypatch.setattr(images, "_loads", None)
    np.testing.assert_array_equal(read_image(path), wanted)
    np.testing.assert_array_equal(read_image(path, longest=50), reduced)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("options", [{}, {317: 2}])
def test_lzw_needs_no_other_package(
    tmp_path: Path,
    rgb: NDArray[np.uint8],
    dtype: str,
    options: dict[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "a.tif"
    values = rgb if dtype == "u1" else rgb[..., 0].astype(np.uint16) * 200
    Image.fromarray(values).save(path, compression="tiff_lzw", tiffinfo=options)
    wanted = read_image(path)
    monkeypatch.setattr(segments, "LARGE", 0)
    monkeypatch.setattr(images, "_loads", None)
    np.testing.assert_array_equal(read_image(path), wanted)


@pytest.mark.parametrize("factor", [2, 250])  # below and above half of the range
@pytest.mark.parametrize("kind", ["one strip", "tiles", "planes", "big-endian"])
def test_colours_of_16_bits_are_as_those_of_the_whole_picture(
    tmp_path: Path,
    rgb: NDArray[np.uint8],
    factor: int,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, values = tmp_path / "a.tif", rgb.astype(np.uint16) * np.uint16(factor) + np.uint16(1)
    stored = np.moveaxis(values, -1, 0) if kind == "planes" else values
    tifffile.imwrite(path, stored, photometric="rgb", **KINDS[kind])
    wanted = read_image(path)
    monkeypatch.setattr(segments, "LARGE", 0)
    monkeypatch.setattr(images, "_loads", None)
    np.testing.assert_array_equal(read_image(path), wanted)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_grey_of_more_bits_is_as_that_of_the_whole_picture(
    tmp_path: Path, rgb: NDArray[np.uint8], dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, values = tmp_path / "a.tif", rgb[..., 0].astype(dtype) * 3
    tifffile.imwrite(path, values, photometric="minisblack", **KINDS["strips"])
    wanted = read_image(path)
    monkeypatch.setattr(segments, "LARGE", 0)
    monkeypatch.setattr(images, "_loads", None)
    np.testing.assert_array_equal(read_image(path), wanted)


def test_one_compressed_strip_is_not_decoded_again_for_each_block(
    tmp_path: Path, rgb: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rgb, photometric="rgb", compression="zlib", rowsperstrip=H)
    wanted = read_image(path)
    monkeypatch.setattr(segments, "LARGE", 0)
    monkeypatch.setattr(segments, "_MOST", 0)
    with monkeypatch.context() as patched:
        patched.setattr(segments, "rows_of", None)
        np.testing.assert_array_equal(read_image(path), wanted)
    # Tiles are decoded once, however large.
    tifffile.imwrite(path, rgb, photometric="rgb", compression="zlib", tile=(304, 208))
    monkeypatch.setattr(images, "_loads", None)
    np.testing.assert_array_equal(read_image(path), wanted)


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
    decoded = segment_rows.rows_of

    def counted(page: Any, stream: Any, top: int, bottom: int) -> NDArray[Any]:
        read.append(bottom - top)
        return decoded(page, stream, top, bottom)

    monkeypatch.setattr(segments, "rows_of", counted)
    monkeypatch.setattr(images, "_loads", None)
    read_image(path, longest=60)
    assert sum(read) == H
    assert max(read) < H // 2


def test_small_reductions_are_left_to_others(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rgb, photometric="rgb")
    assert read_image(path, longest=400).shape == rgb.shape
    alpha = np.dstack([rgb, np.full((H, W), 255, np.uint8)])
    tifffile.imwrite(path, alpha, photometric="rgb", extrasamples=["assocalpha"])
    assert read_image(path, longest=50).shape == rgb.shape


@pytest.mark.parametrize(
    ("kind", "bands"),
    [
        *product(["one strip", "tiles"], ["mask", "smooth", "infrared", "grey", "palette"]),
        *(("strips", "mask"), ("planes", "infrared"), ("turned", "palette"), ("turned", "mask")),
    ],
)
def test_transparency_and_palettes_are_as_those_of_the_whole_picture(
    tmp_path: Path,
    rgb: NDArray[np.uint8],
    kind: str,
    bands: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path, how = tmp_path / "a.tif", KINDS[kind]
    if bands == "palette":
        table = np.random.default_rng(1).integers(0, 2**16, (3, 256), dtype=np.uint16)
        how = {k: v for k, v in how.items() if k != "planarconfig"}
        tifffile.imwrite(path, rgb[..., 0], photometric="palette", colormap=table, **how)
    else:
        alpha = np.where(rgb[..., 1] > 99, 255, 0).astype(np.uint8)
        if bands == "smooth":
            alpha[: H // 4] = rgb[: H // 4, :, 2]
        elif bands == "infrared":
            alpha = rgb[..., 2]
        grey = bands == "grey"
        values = np.dstack([rgb[..., :1] if grey else rgb, alpha])
        stored = np.moveaxis(values, -1, 0) if kind == "planes" else values
        seen = "minisblack" if grey else "rgb"
        how = {"planarconfig": "contig", "extrasamples": ["unassalpha"], **how}
        tifffile.imwrite(path, stored, photometric=seen, **how)
    wanted, reduced = read_image(path), whole(path, 50)
    caplog.clear()
    monkeypatch.setattr(segments, "LARGE", 0)
    monkeypatch.setattr(images, "_loads", None)
    monkeypatch.setattr(OtherTiff, "read", None)
    with reading_with(PixelSettings()):
        found = read_image(path)
    np.testing.assert_array_equal(found, wanted)
    assert np.abs(read_image(path, longest=50).astype(int) - reduced).max() <= 1
    assert ("it is left out" in caplog.text) == (bands == "infrared")


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
