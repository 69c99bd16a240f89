"""Containers, lists and label maps of other programs."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from support import Invoke, draw_scene

from unsam_cli.errors import MachineError, MaskFileError
from unsam_cli.io.features import FeatureFile
from unsam_cli.io.masks import read_masks

H, W = 12, 16
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": H, "width": W}],
    "annotations": [{"id": 1, "image_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}],
}


@pytest.fixture
def labels() -> NDArray[np.uint8]:
    found = np.zeros((H, W), np.uint8)
    found[2:6, 3:9] = 1
    found[7:11, 3:9] = 3
    return found


def save(folder: Path, name: str, values: Any) -> None:
    folder.mkdir(exist_ok=True)
    Image.fromarray(values).save(folder / name)


def converted(invoke: Invoke, *arguments: object) -> dict[str, Any]:
    ran = invoke("convert", "labelmap", *arguments)
    assert ran.exit_code == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    assert [(a["label"], a["area"]) for a in found["annotations"]] == [(1, 24), (3, 24)]
    return found


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".png"])
def test_label_maps_of_any_suffix(
    suffix: str, labels: NDArray[np.uint8], invoke: Invoke, tmp_path: Path
) -> None:
    save(tmp_path / "maps", f"a{suffix}", labels)
    assert converted(invoke, tmp_path / "maps")["images"][0]["file_name"] == f"a{suffix}"


def test_labels_that_are_whole_floats(
    labels: NDArray[np.uint8], invoke: Invoke, tmp_path: Path
) -> None:
    save(tmp_path / "maps", "a.tif", labels.astype(np.float32))
    converted(invoke, tmp_path / "maps")
    save(tmp_path / "maps", "a.tif", labels.astype(np.float32) + 0.5)
    ran = invoke("convert", "labelmap", tmp_path / "maps")
    assert ran.exit_code == 65
    assert "some are no whole numbers" in ran.stderr


@pytest.mark.parametrize("kind", ["int8", "int32", "int64", "uint64", "float16", "float64"])
def test_labels_that_pillow_does_not_read(
    kind: str, labels: NDArray[np.uint8], invoke: Invoke, tmp_path: Path
) -> None:
    """It takes -1 of 8 bits for 255, and opens no integers of 64 bits."""
    (tmp_path / "maps").mkdir()
    tifffile.imwrite(tmp_path / "maps" / "a.tif", labels.astype(kind))
    converted(invoke, tmp_path / "maps")
    if not kind.startswith("u"):
        tifffile.imwrite(tmp_path / "maps" / "a.tif", labels.astype(kind) - 1)
        ran = invoke("convert", "labelmap", tmp_path / "maps")
        found = [a["label"] for a in json.loads(ran.stdout)["annotations"]]
        assert found == [-1, 2]


def test_the_page_of_labels_is_told_and_chosen(
    labels: NDArray[np.uint8], invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "maps").mkdir()
    tifffile.imwrite(tmp_path / "maps" / "a.tif", np.stack([labels * 0 + 9, labels]))
    ran = invoke("convert", "labelmap", tmp_path / "maps")
    assert "page 1 of 2 is read" in ran.stderr
    assert [a["label"] for a in json.loads(ran.stdout)["annotations"]] == [9]
    converted(invoke, tmp_path / "maps", "--page", 2)


def test_label_maps_of_two_kinds(labels: NDArray[np.uint8], invoke: Invoke, tmp_path: Path) -> None:
    for name in ("a.tif", "b.tiff"):
        save(tmp_path / "maps", name, labels)
    ran = invoke("convert", "labelmap", tmp_path / "maps")
    assert len(json.loads(ran.stdout)["images"]) == 2
    save(tmp_path / "maps", "a.png", labels)
    ran = invoke("convert", "labelmap", tmp_path / "maps")
    assert "left out 1 TIFF file beside PNG files, such as b.tiff" in ran.stderr
    assert len(json.loads(ran.stdout)["images"]) == 1


def test_grey_labels_with_transparency(
    labels: NDArray[np.uint8], invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "maps").mkdir()
    bands = (Image.fromarray(labels), Image.new("L", (W, H), 255))
    Image.merge("LA", bands).save(tmp_path / "maps" / "a.png")
    converted(invoke, tmp_path / "maps")


@pytest.mark.parametrize("photo", ["a.jpg", "a.png"])
@pytest.mark.parametrize("mark", ["_mask", "-label", "_seg", "_gtFine_labelIds"])
def test_masks_beside_their_photographs(
    photo: str, mark: str, labels: NDArray[np.uint8], invoke: Invoke, tmp_path: Path
) -> None:
    save(tmp_path / "all", photo, draw_scene(height=H, width=W))
    save(tmp_path / "all", f"a{mark}.png", labels)
    if mark.startswith("_gtFine"):
        (tmp_path / "all" / photo).rename(tmp_path / "all" / f"a_gtFine{photo[1:]}")
        photo = f"a_gtFine{photo[1:]}"
    assert converted(invoke, tmp_path / "all")["images"][0]["file_name"] == photo
    save(tmp_path / "maps", f"a{mark}.png", labels)
    found = converted(invoke, tmp_path / "maps", "--images", tmp_path / "all")
    assert found["images"][0]["file_name"] == photo


def test_a_zip_of_one_json(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations/instances_default.json", json.dumps(COCO))
        archive.writestr("__MACOSX/annotations/._instances_default.json", b"x")
    assert len(read_masks(path).annotations_of(1)) == 1
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("annotations/more.json", json.dumps(COCO))
    with pytest.raises(MaskFileError, match=r"is a ZIP of 2 JSON files, such as annotations/inst"):
        read_masks(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MaskFileError, match="cannot be read"):
        read_masks(path)


def test_byte_order_marks(invoke: Invoke, scenes: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"\xef\xbb\xbf" + f"{scenes}/1.png\r\n{scenes}/2.png\r\n".encode())
    out = tmp_path / "f.h5"
    ran = invoke("extract-features", f"@{listed}", "--size", 64, "-o", out)
    assert ran.exit_code == 0, ran.stderr
    with FeatureFile(out) as file:
        assert file.file_names() == ["1.png", "2.png"]
    one = {"image": {**COCO["images"][0], "image_id": 1}, "annotations": COCO["annotations"]}
    path = tmp_path / "sa_1.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(one).encode())
    assert len(read_masks(path)) == 1


def test_features_that_a_writer_left_open(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["x"] = np.zeros(3)
    with h5py.File(path, "r+", libver="latest") as file:
        file.swmr_mode = True
        path.with_name("open.h5").write_bytes(path.read_bytes())
    with pytest.raises(MachineError, match=r"open for writing, or died .* h5clear -s") as caught:
        FeatureFile(path.with_name("open.h5"))
    assert caught.value.exit_code == 74


def test_yolo_reads_one_file_of_labels_for_a_stem(invoke: Invoke, tmp_path: Path) -> None:
    images = [
        {**COCO["images"][0], "id": i, "file_name": f"a.{s}"} for i, s in ((1, "jpg"), (2, "png"))
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**COCO, "images": images}))
    ran = invoke("convert", "--to", "yolo", path, "-o", tmp_path / "out")
    assert ran.exit_code == 65
    assert "a.jpg and a.png differ only in their suffix" in ran.stderr
    images[1]["file_name"] = "b.png"
    path.write_text(json.dumps({**COCO, "images": images}))
    assert invoke("convert", "--to", "yolo", path, "-o", tmp_path / "out").exit_code == 0


def test_what_a_folder_leaves_out_is_counted(invoke: Invoke, scenes: Path, tmp_path: Path) -> None:
    for name in ("a.HEIC", "b.heic", "c.dng", "d.dcm"):
        (scenes / name).write_bytes(b"x")
    (scenes / "link").symlink_to(scenes / "more")
    (scenes / "bad\udcff.png").write_bytes((scenes / "1.png").read_bytes())
    out = tmp_path / "f.h5"
    arguments = ("extract-features", scenes, "--size", 64, "-o", out)
    assert invoke(*arguments).exit_code == 65
    ran = invoke(*arguments, "--on-error", "skip")
    assert ran.exit_code == 3, ran.stderr
    for told in ("2 entries: HEIC", "1 entry: raw", "1 entry: DICOM", "1 entry: linked"):
        assert f"left out {told}" in ran.stderr
    listed = json.loads((tmp_path / "f.h5.errors.jsonl").read_text())
    assert listed["file_name"] == "bad\\xff.png"
    with FeatureFile(out) as file:
        assert len(file) == 5
