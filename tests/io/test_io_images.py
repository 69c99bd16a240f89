from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from unsam_cli.errors import ImageFileError, MissingInputError
from unsam_cli.io import images
from unsam_cli.io.resizing import resize

H, W = 24, 36


@pytest.fixture
def rgb() -> NDArray[np.uint8]:
    """Smooth colours with different corners."""
    y, x = np.mgrid[0:H, 0:W]
    channels = [255 * x // (W - 1), 255 * y // (H - 1), 255 - 255 * x // (W - 1)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def turned(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The stored array of a picture that is upright after `orientation` is applied."""
    undo = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.transpose(1, 0, 2),
        6: np.rot90(rgb, 1),
        7: rgb[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(rgb, -1),
    }
    return np.ascontiguousarray(undo[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
def test_exif_orientation(
    rgb: NDArray[np.uint8], tmp_path: Path, suffix: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": 1}}
    path = save(
        Image.fromarray(turned(rgb, orientation)),
        tmp_path / f"a{suffix}",
        exif=exif,
        **options.get(suffix, {}),
    )
    read = images.read_image(path)
    assert images.image_size(path) == read.shape[:2] == (H, W)
    np.testing.assert_allclose(read.astype(int), rgb.astype(int), atol=4 if suffix == ".jpg" else 0)


def test_nonsense_orientation_is_ignored(rgb: NDArray[np.uint8], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    path = save(Image.fromarray(rgb), tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(images.read_image(path), rgb)
    path = save(Image.fromarray(rgb), tmp_path / "b.png", exif=b"Exif\0\0MM*\0garbage")
    np.testing.assert_array_equal(images.read_image(path), rgb)
    assert images.image_size(path) == (H, W)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm", ".webp"])
def test_lossless_formats(rgb: NDArray[np.uint8], tmp_path: Path, suffix: str) -> None:
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    path = save(Image.fromarray(rgb), tmp_path / f"a{suffix}", **options)
    read = images.read_image(path)
    np.testing.assert_array_equal(read, rgb)
    assert read.dtype == np.uint8
    assert read.flags.writeable
    assert read.flags.c_contiguous


def test_grey_and_bilevel(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for suffix in (".png", ".pgm", ".tif"):
        read = images.read_image(save(Image.fromarray(grey), tmp_path / f"a{suffix}"))
        np.testing.assert_array_equal(read, np.repeat(grey[..., None], 3, axis=2))
    for suffix in (".png", ".pbm", ".tif"):
        read = images.read_image(save(Image.fromarray(grey > 99), tmp_path / f"b{suffix}"))
        np.testing.assert_array_equal(read[..., 1], np.where(grey > 99, 255, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_over_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(10, 10, 10, 255), (0, 0, 0, 0), (0, 0, 0, 128)])
    read = images.read_image(save(image.convert(mode), tmp_path / "a.png"))
    assert read[0, :, 0].tolist() == [10, 255, 127]


def test_transparent_palettes_and_colours(tmp_path: Path) -> None:
    palette = Image.new("P", (3, 1))
    palette.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    palette.putdata([0, 1, 2])
    expected = [[200, 0, 0], [255, 255, 255], [0, 0, 200]]
    kinds: dict[str, dict[str, Any]] = {
        "index.png": {"transparency": 1},
        "table.png": {"transparency": b"\xff\x00\xff"},
        "index.gif": {"transparency": 1},
    }
    for name, options in kinds.items():
        path = save(palette, tmp_path / name, **options)
        assert images.read_image(path)[0].tolist() == expected, name
    opaque = save(palette, tmp_path / "opaque.png")
    assert images.read_image(opaque)[0].tolist() == [[200, 0, 0], [0, 200, 0], [0, 0, 200]]
    key = save(palette.convert("RGB"), tmp_path / "key.png", transparency=(0, 200, 0))
    assert images.read_image(key)[0].tolist() == expected


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_of_16_bits_is_scaled_by_its_range(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    read = images.read_image(save(Image.fromarray(deep), tmp_path / f"a{suffix}"))
    assert read[0, :, 2].tolist() == [0, 0, 1, 1, 128, 255]


def test_pgm_of_16_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 3 1 65535\n" + np.array([0, 32768, 65535], dtype=">u2").tobytes())
    assert images.read_image(path)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, np.nan, 1.0], [0, 0, 255]),
        ([np.inf, 0.2, -np.inf], [255, 51, 0]),
        ([np.nan, np.nan, np.nan], [0, 0, 0]),
        ([-5.0, -5.0, -5.0], [0, 0, 0]),
        ([-3e38, 0.0, 3e38], [0, 128, 255]),
    ],
)
def test_floats(tmp_path: Path, values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.float32))
    read = images.read_image(save(image, tmp_path / "a.tif"))
    assert read[0, :, 0].tolist() == expected


def test_integers_of_32_bits(tmp_path: Path) -> None:
    for values, expected in {(0, 65535): [0, 255], (-5, 10**9): [0, 255], (7, 7): [0, 0]}.items():
        image = Image.fromarray(np.array([values], dtype=np.int32))
        read = images.read_image(save(image, tmp_path / "a.tif"))
        assert read[0, :, 0].tolist() == expected


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_print_colours(rgb: NDArray[np.uint8], tmp_path: Path, mode: str, suffix: str) -> None:
    if (mode, suffix) == ("YCbCr", ".tif") and int(PIL.__version__.partition(".")[0]) < 13:
        pytest.skip("Pillow below 13 cannot read the YCbCr TIFF that it writes")
    options: dict[str, Any] = {"quality": 100} if suffix == ".jpg" else {}
    read = images.read_image(
        save(Image.fromarray(rgb).convert(mode), tmp_path / f"a{suffix}", **options)
    )
    np.testing.assert_allclose(read.astype(int), rgb.astype(int), atol=12)


def test_profiles_are_ignored(rgb: NDArray[np.uint8], tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    path = save(Image.fromarray(rgb), tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(images.read_image(path), rgb)
    path = save(Image.fromarray(rgb), tmp_path / "b.png", icc_profile=b"nonsense")
    np.testing.assert_array_equal(images.read_image(path), rgb)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_first_frame_of_animations(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if suffix == ".webp" else {}
    path = save(
        frames[0], tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], **options
    )
    read = images.read_image(path)
    assert read.shape == (6, 8, 3)
    assert (read == [255, 0, 0]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_lines_of_pixels(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    path = save(Image.new("RGB", size, "red"), tmp_path / f"a{suffix}")
    assert images.read_image(path, longest=100).ndim == 3
    read = images.read_image(path)
    assert read.shape == (size[1], size[0], 3)


def test_content_counts_not_the_suffix(rgb: NDArray[np.uint8], tmp_path: Path) -> None:
    save(Image.fromarray(rgb), tmp_path / "a.png")
    path = (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(images.read_image(path), rgb)


def test_jpeg_is_decoded_small_where_that_is_enough(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (1000, 400), "navy"), tmp_path / "a.jpg")
    shapes = {
        longest: images.read_image(path, longest=longest).shape for longest in (2000, 900, 250)
    }
    assert shapes == {2000: (400, 1000, 3), 900: (400, 1000, 3), 250: (100, 250, 3)}
    assert images.image_size(path) == (400, 1000)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(Image.new("RGB", (1000, 400), "navy"), tmp_path / "b.jpg", exif=exif)
    assert images.read_image(path, longest=300).shape == (500, 200, 3)
    path = save(Image.new("RGB", (1000, 400), "navy"), tmp_path / "a.png")
    assert images.read_image(path, longest=100).shape == (400, 1000, 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_large_images_are_read_without_a_warning(tmp_path: Path, suffix: str) -> None:
    # Pillow's own limit warns from 89 megapixels on.
    path = save(Image.new("1" if suffix != ".jpg" else "L", (9600, 9600)), tmp_path / f"a{suffix}")
    assert images.image_size(path) == (9600, 9600)
    if suffix == ".tif":  # Pillow checks TIFF files a second time
        assert images.read_image(path).shape == (9600, 9600, 3)
    elif suffix == ".jpg":
        assert images.read_image(path, longest=1000).shape == (1200, 1200, 3)


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + struct.pack(">I", 0)
        + b"IDAT"
        + struct.pack(">I", zlib.crc32(b"IDAT"))
    )


@pytest.mark.parametrize("size", [(30000, 30000), (2**31 - 1, 2**31 - 1), (2**29 + 1, 1)])
def test_decompression_bombs_are_refused_by_their_header(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(*size))
    for read in (images.read_image, images.image_size):
        with pytest.raises(ImageFileError, match=r"bomb\.png: .* pixels exceed the limit"):
            read(path)


def test_what_is_no_image_is_refused(rgb: NDArray[np.uint8], tmp_path: Path) -> None:
    cases = {
        "empty.jpg": (b"", "empty file"),
        "text.png": (b"Not found. " * 9, "is a text; an image is needed"),
        "page.jpg": (b"<!DOCTYPE html><html></html>", "is an HTML page; an image is needed"),
        "script.eps": (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "is a PostScript document",
        ),
        "short.jpg": (b"\xff\xd8\xff", "damaged image"),
        "short.webp": (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "damaged image"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        for read in (images.read_image, images.image_size):
            with pytest.raises(ImageFileError, match=message) as caught:
                read(path)
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"nowhere\.jpg: no such file"):
        images.read_image(tmp_path / "nowhere.jpg")
    with pytest.raises(ImageFileError, match="is a folder"):
        images.read_image(tmp_path)
    with pytest.raises(ImageFileError, match="null"):
        images.image_size(Path("a\0b.jpg"))
    with pytest.raises(ImageFileError, match="too long"):
        images.image_size(Path("x" * 5000))


def samples(rgb: NDArray[np.uint8]) -> dict[str, bytes]:
    image = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "JPEG": (image, {"exif": exif}),
        "PNG": (image, {"exif": exif}),
        "WEBP": (image, {"exif": exif}),
        "TIFF": (image, {"compression": "tiff_lzw"}),
        "BMP": (image, {}),
        "GIF": (image.convert("P"), {}),
        "PPM": (image, {}),
        "JPEG2000": (image, {}),
        "AVIF": (image, {}),
    }
    out = {}
    for kind, (picture, options) in kinds.items():
        buffer = io.BytesIO()
        try:
            picture.save(buffer, kind, **options)
        except (KeyError, OSError):  # Pillow was built without this format
            continue
        out[kind] = buffer.getvalue()
    return out


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_files_give_only_image_file_errors(rgb: NDArray[np.uint8], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "fuzzed"
    refused = 0
    for content in samples(rgb).values():
        for trial in range(60):
            data = bytearray(content)
            if trial % 3 == 0:
                del data[rng.integers(len(data)) :]
            else:
                edge = len(data) if trial % 3 == 1 else min(64, len(data))  # headers matter most
                for place in rng.integers(edge, size=rng.integers(1, 8)):
                    data[place] = rng.integers(256)
            path.write_bytes(data)
            for read in (images.read_image, images.image_size):
                try:
                    read(path)
                except ImageFileError as error:
                    refused += "\n" not in str(error)
    assert refused > 200


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_truncated_files_are_refused(rgb: NDArray[np.uint8], tmp_path: Path, kind: str) -> None:
    content = samples(rgb)[kind]
    path = tmp_path / "cut"
    path.write_bytes(content[: int(0.7 * len(content))])
    with pytest.raises(ImageFileError, match="damaged image"):
        images.read_image(path)


def test_threads_read_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = [
        save(
            Image.fromarray(rng.integers(0, 255, (50, 60, 3), dtype=np.uint8)),
            tmp_path / f"{i}.png",
        )
        for i in range(12)
    ]
    expected = [images.read_image(path) for path in paths]
    with ThreadPoolExecutor(6) as pool:
        for read, known in zip(pool.map(images.read_image, paths * 5), expected * 5, strict=True):
            np.testing.assert_array_equal(read, known)


def test_resize(rgb: NDArray[np.uint8]) -> None:
    assert resize(rgb, (H, W)) is rgb
    assert resize(rgb, (7, 5)).shape == (7, 5, 3)
    checks = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    grey = resize(np.repeat(checks[..., None], 3, axis=2), (8, 8))
    assert np.abs(grey.astype(int) - 127).max() <= 2  # antialiased
    flipped = resize(rgb[:, ::-1], (2 * H, 2 * W))
    np.testing.assert_array_equal(flipped, resize(rgb[:, ::-1].copy(), (2 * H, 2 * W)))
