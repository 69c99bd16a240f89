"""Masks in the coordinates of a map: tifffile writes the GeoTIFFs, pycocotools fills the rings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from pycocotools import mask as cocomask
from support import Invoke

from unsam_cli.convert.outlines import pieces
from unsam_cli.io.geo import Georeference, georeference, placed
from unsam_cli.io.images import read_image
from unsam_cli.io.settings import PixelSettings, reading_with
from unsam_cli.rle import encode

# pycocotools 2.0.11 under numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

H, W = 20, 30
UTM, POINT = (3072, 0, 1, 32633), (1025, 0, 1, 2)
MATRIX = (2.0, 0.5, 0, 100, 0.25, -3.0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 1)


def write_tiff(
    path: Path,
    *keys: tuple[int, ...],
    matrix: bool = False,
    pixels: Any = None,
    more: Sequence[Any] = (),
    **how: Any,
) -> Path:
    """Write a GeoTIFF whose pixel (2, 3) begins at (500000, 4100000), or one with a matrix."""
    pixels = np.zeros((H, W, 3), np.uint8) if pixels is None else pixels
    directory = (1, 1, 0, len(keys), *(number for key in keys for number in key))
    tags: list[Any] = [(34735, "H", len(directory), directory, True)]
    if matrix:
        tags.append((34264, "d", 16, MATRIX, True))
    else:
        tie = (2.0, 3.0, 0.0, 500000.0, 4100000.0, 0.0)
        tags += [(33550, "d", 3, (10.0, 5.0, 0.0), True), (33922, "d", 6, tie, True)]
    tifffile.imwrite(path, pixels, photometric="rgb", extratags=[*tags, *more], **how)
    return path


@pytest.mark.parametrize(
    ("keys", "matrix", "wanted"),
    [
        ((UTM,), False, Georeference((10, 0, 499980, 0, -5, 4100015), 32633)),
        ((POINT, UTM), False, Georeference((10, 0, 499975, 0, -5, 4100017.5), 32633)),
        (((2048, 0, 1, 4326),), True, Georeference((2, 0.5, 100, 0.25, -3, 200), 4326)),
        (((3072, 0, 1, 32767),), False, Georeference((10, 0, 499980, 0, -5, 4100015), None)),
    ],
)
def test_where_a_geotiff_lies(
    tmp_path: Path, keys: Any, matrix: bool, wanted: Georeference
) -> None:
    assert georeference(write_tiff(tmp_path / "a.tif", *keys, matrix=matrix)) == wanted


def test_other_files_lie_nowhere(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((H, W), np.uint8))
    (tmp_path / "b.tif").write_bytes(b"II*\0 damaged")
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    assert [georeference(tmp_path / name) for name in ("a.tif", "b.tif", "c.png")] == [None] * 3


@pytest.mark.parametrize("big", [False, True])
def test_tags_are_read_whatever_the_pixels_are(tmp_path: Path, big: bool) -> None:
    pixels = np.zeros((H, W, 5), np.float32)
    path = write_tiff(tmp_path / "a.tif", UTM, pixels=pixels, bigtiff=big)
    assert georeference(path) == Georeference((10, 0, 499980, 0, -5, 4100015), 32633)


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_place_is_turned_with_the_pixels(tmp_path: Path, turn: int) -> None:
    """The corners of a pixel lie where they are in the file, whichever way it is read."""
    pixels = np.zeros((H, W, 3), np.uint8)
    pixels[4, 7] = 255
    orientation = [(274, "H", 1, turn, True)]
    path = write_tiff(tmp_path / "a.tif", UTM, matrix=True, pixels=pixels, more=orientation)
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    found = []
    for exif in ("ignore", "apply"):
        with reading_with(PixelSettings(exif=exif)):
            [row, column] = np.argwhere(read_image(path)[..., 0])[0]
            place = georeference(path)
        assert place is not None
        assert place.epsg == 32633
        found.append(sorted(map(tuple, place.places(np.add(corners, [column, row])).tolist())))
    assert found[1] == found[0]
    assert found[0][0] == (100 + 7 * 2 + 4 * 0.5, 200 + 7 * 0.25 - 4 * 3)


def test_the_place_is_that_of_the_page_that_is_read(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", UTM, pixels=np.zeros((4, 6, 3), np.uint8), subfiletype=1)
    write_tiff(path, UTM, matrix=True, append=True)
    place = georeference(path)
    assert place is not None
    assert place.transform[:3] == (2, 0.5, 100)
    with reading_with(PixelSettings(page=1)):
        assert georeference(path) == Georeference((10, 0, 499980, 0, -5, 4100015), 32633)


@pytest.mark.parametrize(
    "stored",
    [None, "here", {}, {"transform": [1, 2, 3]}, {"transform": [1, 0, 0, 0, 1, None]}],
)
def test_a_stored_georeference_that_makes_no_sense_is_none(stored: Any) -> None:
    assert Georeference.from_json(stored) is None


@pytest.mark.parametrize("code", [32633, None])
def test_a_georeference_is_stored_without_loss(code: int | None) -> None:
    place = Georeference((0.1, 1e-7, 499980.3, -0.0, -5 / 3, 4100015), code)
    assert Georeference.from_json(placed(place)["georeference"]) == place


def filled(ring: Any) -> NDArray[np.bool_]:
    flat = np.asarray(ring, dtype=float)[:, :2].ravel().tolist()
    return np.asarray(cocomask.decode(cocomask.frPyObjects([flat], H, W))[..., 0], dtype=bool)


def covered(polygons: Any) -> NDArray[np.bool_]:
    """Fill polygons, the first ring of each of them being the outer one."""
    found = np.zeros((H, W), bool)
    for outer, *holes in polygons:
        inside = filled(outer)
        for hole in holes:
            assert (inside & filled(hole)).sum() == filled(hole).sum()
            inside &= ~filled(hole)
        assert not (found & inside).any()
        found |= inside
    return found


@pytest.mark.parametrize("seed", range(12))
def test_pieces_and_holes_cover_the_mask(seed: int) -> None:
    """No ring touches itself, also where pixels touch at a corner only."""
    rng = np.random.default_rng(seed)
    mask = rng.random((H, W)) < (0.35, 0.5, 0.65, 0.85)[seed % 4]
    found = pieces(encode(mask))
    np.testing.assert_array_equal(covered(found), mask)
    for ring in (loop for piece in found for loop in piece):
        assert len(np.unique(ring, axis=0)) == len(ring)


def area_of(ring: Any) -> float:
    x, y = np.asarray(ring)[:, 0], np.asarray(ring)[:, 1]
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def write_masks(folder: Path, *names: str) -> tuple[Path, NDArray[np.bool_]]:
    """Write a mask of two pieces, one of them with a hole, for each image."""
    mask = np.zeros((H, W), bool)
    mask[2:12, 3:15], mask[5:8, 6:9], mask[15:18, 20:28] = True, False, True
    rle = encode(mask)
    one = {"segmentation": {**rle, "counts": rle["counts"].decode()}, "score": 0.5}
    ids = range(1, len(names) + 1)
    data = {
        "images": [
            {"id": i, "file_name": n, "height": H, "width": W}
            for i, n in zip(ids, names, strict=True)
        ],
        "annotations": [{"id": i, "image_id": i, **one} for i in ids],
    }
    path = folder / "masks.json"
    path.write_text(json.dumps(data))
    return path, mask


def test_masks_on_a_map(invoke: Invoke, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", UTM)
    place = georeference(path)
    assert place is not None
    masks, mask = write_masks(tmp_path, "a.tif")
    ran = invoke("convert", "--to", "geojson", masks, "--images", tmp_path)
    assert ran.exit_code == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    assert found["unsam"]["history"][-1]["options"]["to"] == "geojson"
    [feature] = found["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    assert (feature["id"], feature["properties"]["file_name"]) == (1, "a.tif")
    assert (feature["properties"]["score"], feature["properties"]["area"]) == (0.5, mask.sum())
    polygons = feature["geometry"]["coordinates"]
    rings = [ring for polygon in polygons for ring in polygon]
    assert all(ring[0] == ring[-1] for ring in rings)
    assert [np.sign(area_of(ring)) for ring in rings] == [1, -1, 1]
    assert sum(map(area_of, rings)) == mask.sum() * 50  # 10 m x 5 m
    back = [[(np.asarray(r) - [499980, 4100015]) / [10, -5] for r in p] for p in polygons]
    np.testing.assert_array_equal(covered(back), mask)


def test_without_a_place_coordinates_are_pixels(invoke: Invoke, tmp_path: Path) -> None:
    masks, mask = write_masks(tmp_path, "a.tif")
    ran = invoke("convert", "--to", "geojson", masks, "--tolerance", 0.1)
    assert ran.exit_code == 0, ran.stderr
    assert "coordinates are pixels" in ran.stderr
    found = json.loads(ran.stdout)
    assert "crs" not in found
    polygons = found["features"][0]["geometry"]["coordinates"]
    np.testing.assert_array_equal(covered(polygons), mask)
    assert area_of(polygons[0][0]) > 0
    ran = invoke("convert", "--to", "geojson", masks, "--tolerance", 3)
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(ran.stdout)["unsam"]["history"][-1]["options"]["tolerance"] == 3


def test_one_file_has_one_system(invoke: Invoke, tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", (2048, 0, 1, 4326))
    write_tiff(tmp_path / "b.tif", UTM)
    masks, _ = write_masks(tmp_path, "a.tif", "b.tif")
    ran = invoke("convert", "--to", "geojson", masks, "--images", tmp_path)
    assert ran.exit_code == 65
    assert "b.tif: is in EPSG:32633, but a.tif: is in EPSG:4326" in ran.stderr
    write_tiff(tmp_path / "b.tif", (2048, 0, 1, 4326))
    ran = invoke("convert", "--to", "geojson", masks, "--images", tmp_path)
    assert ran.exit_code == 0, ran.stderr
    assert "crs" not in json.loads(ran.stdout)  # WGS 84 is what GeoJSON means
    write_tiff(tmp_path / "b.tif", (2048, 0, 1, 4326), pixels=np.zeros((H, 2 * W, 3), np.uint8))
    ran = invoke("convert", "--to", "geojson", masks, "--images", tmp_path)
    assert ran.exit_code == 65
    assert "b.tif: has 60 x 20 pixels, but its annotations are for 30 x 20" in ran.stderr


def test_the_place_goes_through_the_pipe(invoke: Invoke, tmp_path: Path) -> None:
    """Two shards, one of them without a place; then without the pictures, and as with them."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (2, 64, 64, 3), np.uint8)
    noise[:, 16:48, 16:48] //= 8
    write_tiff(folder / "a.tif", UTM, pixels=noise[0])
    tifffile.imwrite(folder / "b.tif", noise[1])

    def run(*words: object) -> None:
        ran = invoke(*words)
        assert ran.exit_code == 0, ran.stderr

    def file(name: str) -> Path:
        return tmp_path / name

    extract = ("extract-features", folder, "--size", 64)
    for k in (0, 1):
        run(*extract, "--shard", f"{k}/2", "-o", file(f"{k}.h5"))
    run("merge", file("0.h5"), file("1.h5"), "-o", file("merged.h5"))
    run(*extract, "-o", file("f.h5"))
    assert file("merged.h5").read_bytes() == file("f.h5").read_bytes()
    run("divide", file("f.h5"), "-o", file("objects.json"))
    run("filter", file("objects.json"), "--max-masks", 1, "-o", file("filtered.json"))
    run("divide", file("f.h5"), "--detections", file("objects.json"), "-o", file("taken.json"))
    plain = json.loads(file("taken.json").read_text())
    del plain["images"][0]["georeference"]
    file("plain.json").write_text(json.dumps(plain))
    run("merge", "--union", file("objects.json"), file("plain.json"), "-o", file("union.json"))
    for name in ("objects.json", "filtered.json", "taken.json", "union.json"):
        a, b = json.loads(file(name).read_text())["images"]
        assert a["georeference"] == {
            "transform": [10.0, 0.0, 499980.0, 0.0, -5.0, 4100015.0],
            "crs": "EPSG:32633",
        }
        assert list(b) == ["id", "file_name", "height", "width"]
    write_tiff(folder / "b.tif", UTM, pixels=noise[1])
    run(*extract, "-o", file("g.h5"))
    run("divide", file("g.h5"), "-o", file("both.json"))
    run("convert", "--to", "geojson", file("both.json"), "-o", file("kept.json"))
    pictures = ("--images", folder)
    run("convert", "--to", "geojson", file("both.json"), *pictures, "-o", file("read.json"))
    assert json.loads(file("kept.json").read_text()) == json.loads(file("read.json").read_text())
