"""A small scene of nested masks, and running a conversion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from support import Invoke

from unsam_cli.rle import decode

Mask = NDArray[np.bool_]
Convert = Callable[..., dict[str, Any]]


@pytest.fixture
def shapes() -> list[Mask]:
    """Return a whole, a part of it, a ring, and two pieces that touch in a corner; 40 x 60."""
    y, x = np.mgrid[:40, :60]
    whole = (y >= 5) & (y < 30) & (x >= 4) & (x < 30)
    part = (y >= 8) & (y < 16) & (x >= 8) & (x < 20)
    distance = np.hypot(y - 20, x - 46)
    ring = (distance < 12) & (distance > 5)
    pieces = ((y >= 31) & (y < 35) & (x >= 1) & (x < 6)) | ((y >= 35) & (x >= 6) & (x < 9))
    return [whole, part, ring, pieces]


@pytest.fixture
def convert(
    invoke: Invoke, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    """Run a conversion to COCO; return the file, checked to be ground truth by pycocotools."""

    def run(*args: object) -> dict[str, Any]:
        out = tmp_path / "converted.json"
        ran = invoke("convert", *args, "-o", out)
        assert ran.exit_code == 0, ran.stderr
        found: dict[str, Any] = json.loads(out.read_bytes())
        check_coco(out)
        capsys.readouterr()
        return found

    return run


def check_coco(path: Path) -> None:
    coco = COCO(path)
    assert coco.dataset["categories"] == [{"id": 1, "name": "entity"}]
    annotations = coco.dataset["annotations"]
    assert [a["id"] for a in annotations] == list(range(1, len(annotations) + 1))
    for image in coco.dataset["images"]:
        assert set(image) == {"id", "file_name", "height", "width"}
    for a in annotations:
        image = coco.imgs[a["image_id"]]
        assert coco.annToRLE(a)["size"] == [image["height"], image["width"]]
        assert a["category_id"] == 1
        assert a["iscrowd"] in (0, 1)
        assert a["area"] >= 0
        assert len(a["bbox"]) == 4
        if a["parent_id"] is not None:
            assert coco.anns[a["parent_id"]]["image_id"] == a["image_id"]


@pytest.fixture
def masks_of() -> Callable[[dict[str, Any], int], list[Mask]]:
    """Decode the masks of one image of a COCO object, polygons or RLE, in order."""

    def all_of(data: dict[str, Any], image_id: int) -> list[Mask]:
        image = next(i for i in data["images"] if i["id"] == image_id)
        return [
            decode_one(a["segmentation"], image["height"], image["width"])
            for a in data["annotations"]
            if a["image_id"] == image_id
        ]

    return all_of


def decode_one(segmentation: Any, height: int, width: int) -> Mask:
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    return decode(segmentation)


@pytest.fixture
def rle() -> Callable[[Mask], dict[str, Any]]:
    """Encode a mask as pycocotools does, counts as text."""

    def encode(mask: Mask) -> dict[str, Any]:
        found = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"size": found["size"], "counts": found["counts"].decode()}

    return encode
