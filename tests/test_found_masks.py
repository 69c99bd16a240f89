from __future__ import annotations

import numpy as np
import pytest

from unsam_cli.found_masks import FoundMask, FoundMasks, annotate, granularity
from unsam_cli.rle import encode


def box(x: int, y: int, w: int, h: int, score: float = 1.0) -> FoundMask:
    mask = np.zeros((40, 50), bool)
    mask[y : y + h, x : x + w] = True
    return FoundMask(encode(mask), score, "conquer", 0.5)


def test_annotations_are_ranked_and_nested() -> None:
    part_of_part, whole, part, other = (
        box(2, 2, 3, 3, 0.9),
        box(0, 0, 20, 20, 0.5),
        box(1, 1, 10, 10, 0.7),
        box(30, 30, 5, 5, 0.8),
    )
    found = annotate(7, FoundMasks.of([part_of_part, whole, part, other], (40, 50)))
    assert [a["area"] for a in found] == [9, 25, 100, 400]
    assert [a["parent"] for a in found] == [2, None, 3, None]
    assert [a["bbox"] for a in found][:2] == [[2, 2, 3, 3], [30, 30, 5, 5]]
    assert {a["image_id"] for a in found} == {7}
    sides = [3, 10, 20]
    expected = [0.1 + 0.9 * (s - 3) / 17 for s in sides]
    got = [found[i]["granularity"] for i in (0, 2, 3)]
    assert got == pytest.approx(expected, abs=1e-6)
    assert found[1]["granularity"] == 1.0  # alone below its root


def test_granularity_is_within_each_root() -> None:
    areas = np.array([100, 25, 400, 1, 400])
    parent = np.array([-1, 0, -1, 2, -1])
    np.testing.assert_allclose(granularity(areas, parent), [1.0, 0.1, 1.0, 0.1, 1.0])


def test_equal_areas_are_all_coarse() -> None:
    np.testing.assert_array_equal(granularity(np.array([5, 5]), np.array([-1, 0])), [1.0, 1.0])


def test_no_masks() -> None:
    assert annotate(1, FoundMasks.of([], (40, 50))) == []
