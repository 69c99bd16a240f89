"""A turned or mirrored photograph has the turned masks: nothing goes by the order of a scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage
from support import SYMMETRIES

from unsam_cli.backbones.builtin import BuiltinBackbone
from unsam_cli.conquer.conquer import conquer_image
from unsam_cli.divide.maskcut import maskcut
from unsam_cli.divide.upsample import to_pixels
from unsam_cli.found_masks import FoundMasks
from unsam_cli.io.features import Record
from unsam_cli.io.images import read_image
from unsam_cli.io.previews import decode_preview, encode_preview
from unsam_cli.io.resizing import resize
from unsam_cli.rle import RunTable, decode, encode, iou

HEIGHT, WIDTH = 120, 180


def segment(rgb: np.ndarray) -> FoundMasks:
    """Masks of a small image and of a part of it, by all stages."""
    backbone, size = BuiltinBackbone(), rgb.shape[:2]
    preview = decode_preview(encode_preview(rgb))
    whole = backbone.extract(resize(rgb, (2 * size[0], 2 * size[1]))[None])[0]
    records = [Record((0, 0, size[1], size[0]), None, 1.0, whole.astype(np.float16))]
    for cut in maskcut(whole, max_masks=1):
        mask = to_pixels(cut, preview, size)
        x, y, w, h = RunTable.from_rles([mask]).boxes[0].tolist()
        crop = resize(rgb[y : y + h, x : x + w], (128, 128))
        features = backbone.extract(crop[None])[0].astype(np.float16)
        records.append(Record((x, y, w, h), mask, cut.score, features))
    return conquer_image(records, preview, size)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    path = Path(skimage.__file__).parent / "data" / "chelsea.png"
    return read_image(path)[20 : 20 + HEIGHT, 100 : 100 + WIDTH]


@pytest.fixture(scope="module")
def upright(photograph: np.ndarray) -> FoundMasks:
    return segment(photograph)


@pytest.mark.parametrize("turn", SYMMETRIES)
def test_a_turned_photograph_has_the_turned_masks(
    photograph: np.ndarray, upright: FoundMasks, turn: str
) -> None:
    there, back = SYMMETRIES[turn]
    turned = segment(there(photograph))
    best = [encode(back(decode(mask.rle))) for mask in turned[:50]]
    overlap = iou([mask.rle for mask in upright[:50]], best)
    assert overlap.max(axis=1).mean() > 0.95
