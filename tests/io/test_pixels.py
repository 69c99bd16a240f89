"""Pixels of other programs: Pillow and tifffile write them, and are the truth."""

from __future__ import annotations

import logging
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from support import Invoke

from unsam_cli.errors import ImageFileError
from unsam_cli.io.images import image_size, orientation_of, read_image
from unsam_cli.io.settings import PixelSettings, reading_with
from unsam_cli.io.sizes import check_size

H, W = 20, 30


@pytest.fixture
def rgb() -> NDArray[np.uint8]:
    y, x = np.mgrid[:H, :W]
    return np.stack([8 * x, 12 * y, 255 - 8 * x], axis=-1).astype(np.uint8)


def grey(top: float) -> NDArray[np.float64]:
    """A slope from 0 to `top`."""
    return np.linspace(0, top, H * W).reshape(H, W)


def close(found: NDArray[np.uint8], wanted: NDArray[Any], most: int = 1) -> None:
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= most


@pytest.mark.parametrize("top", [4095, 500, 12000])
def test_values_of_fewer_bits_are_scaled_by_what_the_picture_holds(
    tmp_path: Path, top: int, caplog: pytest.LogCaptureFixture
) -> None:
    eight = np.rint(grey(255)).astype(np.uint8)
    deep = np.rint(grey(top)).astype(np.uint16)
    with reading_with(PixelSettings()):
        for name in ("a.png", "b.png"):
            Image.fromarray(deep).save(tmp_path / name)
            close(read_image(tmp_path / name)[..., 0], eight)
    assert len(caplog.messages) == 1
    assert "--range LO,HI sets them for all" in caplog.text


def test_a_hot_pixel_does_not_darken_a_picture(tmp_path: Path) -> None:
    deep = np.rint(grey(4000)).astype(np.uint16)
    deep = np.tile(deep, (4, 4))
    deep[5, 5] = 20000
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert 125 < read_image(tmp_path / "a.png").mean() < 130


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("mark", [-9999.0, -3.4028234663852886e38])
def test_no_data_is_left_out(tmp_path: Path, mark: float, declared: bool) -> None:
    values = grey(300).astype(np.float32)
    values[:6] = mark
    tags = [(42113, "s", 0, str(mark), True)] if declared else []
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=tags)
    read = read_image(tmp_path / "a.tif")[..., 0]
    assert (read[:6] == 0).all()
    low, high = values[6:].min(), values[6:].max()
    close(read[6:], np.rint((values[6:] - low) / (high - low) * 255))


def test_a_range_is_the_same_for_all_pictures(tmp_path: Path) -> None:
    with reading_with(PixelSettings(range=(0, 1000))):
        for top in (500, 800):
            deep = np.rint(grey(top)).astype(np.uint16)
            Image.fromarray(deep).save(tmp_path / "a.png")
            close(read_image(tmp_path / "a.png")[..., 0], deep / 1000 * 255)


def deep_png(path: Path, values: NDArray[np.uint16]) -> None:
    """Write colours of 16 bits, which Pillow cannot; each row has the next of two filters."""
    height, width, bands = values.shape
    rows = np.ascontiguousarray(values, dtype=">u2").view(np.uint8).reshape(height, -1)
    lines = []
    for y, row in enumerate(rows):
        left = np.concatenate([np.zeros(2 * bands, np.uint8), row[: -2 * bands]])
        above = rows[y - 1] if y else np.zeros_like(row)
        kind = 1 + y % 2
        lines.append(bytes([kind]) + (row - (left if kind == 1 else above)).tobytes())
    head = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[bands], 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in (
        (b"IHDR", head), (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")
    ):  # fmt: skip
        sum_ = zlib.crc32(name + content)
        data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", sum_)
    path.write_bytes(data)


@pytest.mark.parametrize("bands", [3, 4])
def test_colours_of_12_bits_in_a_png_of_16(
    rgb: NDArray[np.uint8], tmp_path: Path, bands: int
) -> None:
    values = np.full((H, W, bands), 65535, np.uint16)
    values[..., :3] = rgb.astype(np.uint16) * 16 + 7
    deep_png(tmp_path / "a.png", values)
    low, high = values[..., :3].min(), values[..., :3].max()
    close(read_image(tmp_path / "a.png"), (values[..., :3] - low) / (high - low) * 255.0)
    with reading_with(PixelSettings(range=(0, 8191))):
        close(read_image(tmp_path / "a.png"), values[..., :3] / 8191 * 255)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_range_holds_for_bright_colours_of_16_bits(
    rgb: NDArray[np.uint8], tmp_path: Path, suffix: str
) -> None:
    values = rgb.astype(np.uint16) * 257
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        deep_png(path, values)
    else:
        tifffile.imwrite(path, values, photometric="rgb")
    close(read_image(path), rgb)
    with reading_with(PixelSettings(range=(0, 131070))):
        close(read_image(path), rgb / 2)


@pytest.mark.parametrize("turn", range(1, 9))
def test_dark_colours_in_a_turned_tiff(rgb: NDArray[np.uint8], tmp_path: Path, turn: int) -> None:
    """They are read by tifffile, which turns nothing."""
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(rgb).save(tmp_path / "b.tif", exif=exif)
    deep = rgb.astype(np.uint16) * 16
    tags = [(274, "H", 1, turn, True)]
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", extratags=tags)
    wanted = read_image(tmp_path / "b.tif")
    with reading_with(PixelSettings(range=(0, 4080))):
        close(read_image(tmp_path / "a.tif"), wanted)
    assert image_size(tmp_path / "a.tif") == wanted.shape[:2]


def test_near_infrared_is_a_band_not_transparency(
    rgb: NDArray[np.uint8], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    infrared = np.rint(grey(180) + 30).astype(np.uint8)
    path = tmp_path / "a.tif"
    with reading_with(PixelSettings()):
        tifffile.imwrite(
            path, np.dstack([rgb, infrared]), photometric="rgb", extrasamples=["unassalpha"]
        )
        np.testing.assert_array_equal(read_image(path), rgb)
        assert "its fourth band is tagged as transparency" in caplog.text
        mask = np.where(infrared > 90, 255, 0).astype(np.uint8)
        tifffile.imwrite(
            path, np.dstack([rgb, mask]), photometric="rgb", extrasamples=["unassalpha"]
        )
        read = read_image(path)
    assert (read[mask == 0] == 255).all()
    np.testing.assert_array_equal(read[mask > 0], rgb[mask > 0])
    with reading_with(PixelSettings(bands=(4, 1, 2))):
        np.testing.assert_array_equal(read_image(path), np.dstack([mask, rgb[..., :2]]))
    with reading_with(PixelSettings(bands=(2,))):
        np.testing.assert_array_equal(read_image(path)[..., 0], rgb[..., 1])
    with reading_with(PixelSettings(bands=(5,))), pytest.raises(ImageFileError, match="4 bands"):
        read_image(path)


def test_pages_are_counted_and_chosen(
    rgb: NDArray[np.uint8], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.tif"
    stack = np.stack([rgb, rgb[::-1], rgb[:, ::-1]])
    tifffile.imwrite(path, stack, photometric="rgb")
    with reading_with(PixelSettings()):
        np.testing.assert_array_equal(read_image(path), rgb)
    assert "page 1 of 3 is read; --page N chooses" in caplog.text
    with reading_with(PixelSettings(page=3)):
        np.testing.assert_array_equal(read_image(path), stack[2])
    with reading_with(PixelSettings(page=4)), pytest.raises(ImageFileError, match="has 3 pages"):
        read_image(path)


@pytest.mark.parametrize("kind", [0, 1])
def test_a_thumbnail_in_front_is_not_the_picture(
    rgb: NDArray[np.uint8], tmp_path: Path, kind: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(rgb[::4, ::4], photometric="rgb", subfiletype=kind)
        writer.write(rgb, photometric="rgb")
    with reading_with(PixelSettings()):
        np.testing.assert_array_equal(read_image(path), rgb)
        assert image_size(path) == (H, W)
    assert ("page 2 of 2" in caplog.text) == (kind == 0)


@pytest.mark.parametrize("kind", [np.float32, np.uint16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_four_bands_of_any_kind(
    rgb: NDArray[np.uint8], tmp_path: Path, kind: Any, planar: str
) -> None:
    values = np.dstack([rgb, 255 - rgb[..., 0]]).astype(np.float64) * 16
    path = tmp_path / "a.tif"
    stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
    tifffile.imwrite(
        path, stored.astype(kind), photometric="rgb", planarconfig=planar,
        extrasamples=["unspecified"],
    )  # fmt: skip
    assert image_size(path) == (H, W)
    close(read_image(path), rgb, 2)


@pytest.mark.parametrize(("bands", "read"), [(2, "1"), (4, "1, 2, 3")])
def test_further_bands_of_8_bits_are_told(
    rgb: NDArray[np.uint8], tmp_path: Path, bands: int, read: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Pillow reads them, and says nothing."""
    path = tmp_path / "a.tif"
    photometric = "rgb" if bands == 4 else "minisblack"
    tifffile.imwrite(
        path, np.dstack([rgb, rgb])[..., :bands], photometric=photometric, planarconfig="contig",
        extrasamples=["unspecified"],
    )  # fmt: skip
    with reading_with(PixelSettings()):
        found = read_image(path)
    np.testing.assert_array_equal(found, rgb if bands == 4 else np.dstack([rgb[..., 0]] * 3))
    assert f"bands {read} of {bands} are read; --bands chooses" in caplog.text


def test_signed_values_of_8_bits(tmp_path: Path) -> None:
    """Pillow takes -1 for 255."""
    values = np.rint(grey(100)).astype(np.int8) - 50
    tifffile.imwrite(tmp_path / "a.tif", values)
    with reading_with(PixelSettings(range=(-50, 50))):
        close(read_image(tmp_path / "a.tif")[..., 0], (values.astype(float) + 50) * 2.55)


def test_complex_values_are_no_picture(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey(100).astype(np.complex64))
    with pytest.raises(ImageFileError, match="complex values are no picture"):
        read_image(tmp_path / "a.tif")


def test_a_tiff_without_a_page_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + (0).to_bytes(4, "little"))
    with pytest.raises(ImageFileError, match="has no page"):
        read_image(path)


def test_a_picture_without_values_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((H, W), np.nan, np.float32))
    with reading_with(PixelSettings()):
        assert not read_image(tmp_path / "a.tif").any()
    assert "has no values" in caplog.text


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_is_read(
    rgb: NDArray[np.uint8], tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"a.{suffix}"
    flat = np.full_like(rgb, 200)
    frames = [Image.fromarray(255 - flat)]
    Image.fromarray(flat).save(path, save_all=True, append_images=frames, lossless=True)
    with reading_with(PixelSettings()):
        np.testing.assert_array_equal(read_image(path), flat)
    assert "the first of its 2 frames is read" in caplog.text


def test_without_tifffile_the_kind_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    values = np.zeros((H, W, 4), np.float32)
    tifffile.imwrite(path, values, photometric="rgb", extrasamples=["unspecified"])
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(ImageFileError, match=r"4 bands of 32 bits \(float\) needs tifffile"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("turn", range(2, 9))
def test_orientation_can_be_ignored(
    rgb: NDArray[np.uint8], tmp_path: Path, suffix: str, turn: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / f"a{suffix}"
    Image.fromarray(rgb).save(path, exif=exif)
    assert orientation_of(path) == turn
    assert image_size(path) == read_image(path).shape[:2] == ((H, W) if turn < 5 else (W, H))
    with reading_with(PixelSettings(exif="ignore")):
        np.testing.assert_array_equal(read_image(path), rgb)
        assert image_size(path) == (H, W)


def test_a_turned_photograph_is_named(
    rgb: NDArray[np.uint8], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.jpg"
    Image.fromarray(rgb).save(path, exif=exif)
    with pytest.raises(ImageFileError, match=r"EXIF orientation, 6: .* use --exif ignore"):
        check_size(path, (W, H), (H, W))
    Image.fromarray(rgb[:, :H]).save(path, exif=exif)
    with reading_with(PixelSettings()):
        check_size(path, (H, H), (H, H))
    assert "its sides are equal" in caplog.text


def test_options_reach_the_pictures(
    invoke: Invoke, tmp_path: Path, rgb: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    stack = np.stack([rgb, rgb[::-1]])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb")
    Image.fromarray(rgb[::-1]).save(tmp_path / "b.tif")
    found = []
    for name, page in (("a.tif", ["--page", "2"]), ("b.tif", [])):
        out = tmp_path / f"{name}.h5"
        ran = invoke("extract-features", tmp_path / name, "--size", 64, *page, "-o", out)
        assert ran.exit_code == 0, ran.stderr
        found.append(out)
    from unsam_cli.io.features import FeatureFile

    with FeatureFile(found[0]) as one, FeatureFile(found[1]) as other:
        assert one.attributes.history[-1]["options"]["page"] == 2
        assert "page" not in other.attributes.history[-1]["options"]
        [a], [b] = one.records(0), other.records(0)
        np.testing.assert_array_equal(a.features, b.features)
    logging.getLogger("unsam_cli").setLevel(logging.NOTSET)
