from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_scenes import box
from PIL import Image

from unsam_cli.errors import DataError, ImageFileError, MissingInputError
from unsam_cli.rle import decode
from unsam_cli.training.dataset import AnnotatedImages
from unsam_cli.training.recipe import DataSettings

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write images (each of its own grey) and a COCO file of rectangles in them."""

    def make(name: str, masks: dict[str, list[dict[str, Any]]], *, pictures: bool = True) -> Path:
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for i, (file_name, found) in enumerate(masks.items(), start=1):
            images.append({"id": i, "file_name": file_name, "height": 40, "width": 60})
            if pictures:
                grey = np.full((40, 60, 3), 10 * i, np.uint8)
                Image.fromarray(grey).save(tmp_path / file_name)
            annotations += [
                {"id": len(annotations) + k, "image_id": i, **m}
                for k, m in enumerate(found, start=1)
            ]
        path = tmp_path / name
        text = json.dumps({"images": images, "annotations": annotations}).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return path

    return make


def mask(x: int, y: int, w: int, h: int, **keys: Any) -> dict[str, Any]:
    return {"segmentation": box(x, y, w, h, height=40, width=60), **keys}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_images_and_masks_are_read(write: Write, tmp_path: Path) -> None:
    file = write(
        "a.json", {"1.png": [mask(0, 0, 5, 5), mask(5, 5, 9, 3)], "2.png": [mask(1, 1, 2, 2)]}
    )
    images = AnnotatedImages([file], tmp_path, DataSettings())
    assert len(images) == 2
    found = images.read(0, rng())
    assert found.file_name == "1.png"
    assert (found.pixels == 10).all()
    assert [decode(m).sum() for m in found.masks] == [25, 27]
    assert images.info(1).file_name == "2.png"


def test_crowds_are_no_masks(write: Write, tmp_path: Path) -> None:
    file = write("a.json", {"1.png": [mask(0, 0, 5, 5, iscrowd=1), mask(5, 5, 9, 3)]})
    found = AnnotatedImages([file], tmp_path, DataSettings()).read(0, rng())
    assert [decode(m).sum() for m in found.masks] == [27]


def test_too_many_masks_are_sampled_uniformly(write: Write, tmp_path: Path) -> None:
    file = write("a.json", {"1.png": [mask(0, 0, 1, 1 + i) for i in range(12)]})
    images = AnnotatedImages([file], tmp_path, DataSettings(max_masks=4))
    draws = np.zeros(13)
    for seed in range(300):
        areas = [decode(m).sum() for m in images.read(0, np.random.default_rng(seed)).masks]
        assert areas == sorted(set(areas))
        assert len(areas) == 4
        draws[areas] += 1
    assert draws[1:].min() > 60  # of 100 expected
    every = AnnotatedImages([file], tmp_path, DataSettings(max_masks=0))
    assert len(every.read(0, rng()).masks) == 12


def test_images_without_masks(write: Write, tmp_path: Path) -> None:
    crowd = mask(0, 0, 5, 5, iscrowd=1)
    file = write("a.json", {"1.png": [], "2.png": [mask(1, 1, 2, 2)], "3.png": [crowd]})
    skipped = AnnotatedImages([file], tmp_path, DataSettings())
    assert (len(skipped), skipped.without_masks) == (1, 2)
    assert skipped.info(0).file_name == "2.png"
    background = AnnotatedImages([file], tmp_path, DataSettings(empty_images="background"))
    assert (len(background), background.without_masks) == (3, 2)
    assert background.read(0, rng()).masks == background.read(2, rng()).masks == []


def test_nothing_to_learn_from(write: Write, tmp_path: Path) -> None:
    file = write("a.json", {"1.png": []})
    with pytest.raises(DataError, match=r"a\.json: no image has a mask"):
        AnnotatedImages([file], tmp_path, DataSettings())


def test_shards_make_one_set(write: Write, tmp_path: Path) -> None:
    files = [
        write("a.json", {"1.png": [mask(0, 0, 3, 3)], "2.png": [mask(0, 0, 4, 4)]}),
        write("b.json.gz", {"3.png": [mask(0, 0, 5, 5)]}),  # with ids of its own, from 1
    ]
    images = AnnotatedImages(files, tmp_path, DataSettings())
    assert [images.info(i).file_name for i in range(3)] == ["1.png", "2.png", "3.png"]
    assert [int(decode(images.read(i, rng()).masks[0]).sum()) for i in range(3)] == [9, 16, 25]


def test_an_image_in_two_files_is_refused(write: Write, tmp_path: Path) -> None:
    files = [write(name, {"1.png": [mask(0, 0, 3, 3)]}) for name in ("a.json", "b.json")]
    with pytest.raises(DataError, match=r"b\.json: 1\.png is also in .*a\.json; join"):
        AnnotatedImages(files, tmp_path, DataSettings())


def test_bare_results_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"image_id": 1, **mask(0, 0, 3, 3)}]))
    with pytest.raises(DataError, match="lists no images"):
        AnnotatedImages([path], tmp_path, DataSettings())


def test_a_wrong_folder_is_told_at_once(write: Write, tmp_path: Path) -> None:
    file = write("a.json", {"1.png": [mask(0, 0, 3, 3)]}, pictures=False)
    with pytest.raises(MissingInputError, match=r"1\.png: no such file"):
        AnnotatedImages([file], tmp_path, DataSettings())


def test_images_of_another_size_are_refused(write: Write, tmp_path: Path) -> None:
    file = write("a.json", {"1.png": [mask(0, 0, 3, 3)]})
    Image.new("RGB", (61, 40)).save(tmp_path / "1.png")
    images = AnnotatedImages([file], tmp_path, DataSettings())
    with pytest.raises(ImageFileError, match=r"1\.png: has 61 x 40 pixels, but .* for 60 x 40"):
        images.read(0, rng())


def test_it_can_be_sent_to_other_processes(write: Write, tmp_path: Path) -> None:
    file = write("a.json.gz", {"1.png": [mask(0, 0, 3, 3)]})
    images = AnnotatedImages([file], tmp_path, DataSettings())
    copy = pickle.loads(pickle.dumps(images))
    assert copy.read(0, rng()).masks == images.read(0, rng()).masks


def test_history_of_the_masks(tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        own = {"history": [{"command": "extract"}, {"command": f"conquer {name}"}]}
        Image.new("RGB", (60, 40)).save(tmp_path / f"{name}.png")
        image = {"id": 1, "file_name": f"{name}.png", "height": 40, "width": 60}
        text = {"info": {"unsam": own}, "images": [image]}
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(
            json.dumps(text | {"annotations": [{"id": 1, "image_id": 1, **mask(0, 0, 3, 3)}]})
        )
    images = AnnotatedImages(files, tmp_path, DataSettings())
    commands = [step["command"] for step in images.history]
    assert commands == ["extract", "conquer a", "conquer b"]
