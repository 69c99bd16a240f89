"""Which masks of an image are learnt."""

from __future__ import annotations

import numpy as np

from unsam_cli.io.annotations import Annotation
from unsam_cli.rle import encode
from unsam_cli.training.recipe import DataSettings
from unsam_cli.training.selection import select


def annotation(number: int, score: float | None, x: int, width: int) -> Annotation:
    mask = np.zeros((20, 40), bool)
    mask[5:15, x : x + width] = True
    return Annotation(number, 1, encode(mask), 0.0, (0, 0, 0, 0), score=score)


FOUND = [
    annotation(1, None, 0, 2),
    annotation(2, 0.5, 10, 10),
    annotation(3, 0.9, 11, 10),
    annotation(4, 0.5, 25, 10),
    annotation(5, 0.7, 0, 40),
]


def chosen(**settings: object) -> list[int]:
    return [a.id for a in select(FOUND, DataSettings(**settings))]  # type: ignore[arg-type]


def test_the_best_come_first() -> None:
    assert chosen() == [3, 5, 2, 4, 1]
    assert chosen(best=2) == [3, 5]
    assert select([], DataSettings(nms_iou=0.5, min_area=2, best=3)) == []


def test_a_mask_is_dropped_by_a_better_one_alone() -> None:
    assert chosen(nms_iou=0.8) == [3, 5, 4, 1]  # IoU 9 / 11
    assert chosen(nms_iou=0.82) == [3, 5, 2, 4, 1]


def test_sizes_count_before_duplicates() -> None:
    assert chosen(max_area=0.4) == [3, 2, 4, 1]  # 400 of 800 pixels
    assert chosen(max_area=0.5) == [3, 5, 2, 4, 1]
    assert chosen(min_area=21) == [3, 5, 2, 4]
    assert chosen(min_area=20, nms_iou=0.5, best=3) == [3, 5, 4]
