from __future__ import annotations

import contextlib
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from pycocotools import mask as cocomask

from unsam_cli import rle

# pycocotools 2.0.11 under numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_all_forms_of_one_mask_are_equal() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:15, 10:20] = True
    coded = rle.encode(mask)
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    forms = [
        coded,
        {"size": [20, 30], "counts": coded["counts"].decode()},
        {"size": [20, 30], "counts": counts},
        {"size": [20, 30], "counts": [0, 0, *counts[:1], 0, 0, *counts[1:], 0]},
        {"size": [20, 30], "counts": [float(count) for count in counts]},
        [[10, 5, 20, 5, 20, 15, 10, 15]],
        [[10, 5, 20, 5, 20, 10, 10, 10], [10, 10, 20, 10, 20, 15, 10, 15]],
    ]
    for form in forms:
        assert rle.from_segmentation(form, 20, 30) == coded


def test_polygons_are_drawn_as_by_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        h, w = rng.integers(1, 60, 2)
        polygons = [
            (rng.random(2 * rng.integers(3, 9)) * 80 - 10).tolist()
            for _ in range(rng.integers(1, 4))
        ]
        drawn = cocomask.decode(cocomask.merge(cocomask.frPyObjects(polygons, h, w)))
        np.testing.assert_array_equal(
            rle.decode(rle.from_segmentation(polygons, int(h), int(w))), drawn.astype(bool)
        )


@pytest.mark.parametrize("polygons", [[], [[]], [None], [[1, 2, 3, 4]], [[1, 2], [3, 4]]])
def test_no_polygon_is_an_empty_mask(polygons: list[object]) -> None:
    assert rle.area([rle.from_segmentation(polygons, 4, 5)]).tolist() == [0]
    assert not rle.outlined(polygons)


def test_polygons_of_other_programs() -> None:
    outline = [10.0, 5.0, 20.0, 5.0, 20.0, 15.0, 10.0, 15.0]
    pairs = [outline[i : i + 2] for i in range(0, 8, 2)]
    wanted = rle.from_segmentation([outline], 20, 30)
    assert rle.area([wanted]).tolist() == [100]
    for form in (outline, pairs, [pairs], [outline, []], [[1, 2, 3, 4], outline, None]):
        assert rle.outlined(form)
        assert rle.from_segmentation(form, 20, 30) == wanted
    assert rle.from_segmentation({"size": [20.0, 30.0], "counts": [600.0]}, 20, 30)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "must be a list of polygons"),
        ("abc", "must be a list of polygons"),
        (3.5, "must be a list of polygons"),
        ({}, "size"),
        ([["a", "b"]], "polygon must be numbers"),
        ([[1, 2, None, 4]], "polygon must be numbers"),
        ({"size": [4, 5]}, "counts must be text, got NoneType"),
        ({"size": [5, 4], "counts": "0"}, "size 5x4 differs from the image's 4x5"),
        ({"size": [4, 5], "counts": {}}, "counts must be text, got dict"),
        ({"size": [4, 5], "counts": [3, 4]}, "add up to the image's 20"),
        ({"size": [4, 5], "counts": [30, -10]}, "not be negative"),
        ({"size": [4, 5], "counts": [1.5, 18.5]}, "whole numbers"),
        ({"size": [4, 5], "counts": [10, True, "9"]}, "must be numbers"),
        ({"size": [4, 5], "counts": [[20]]}, "must be numbers"),
        ({"size": [4, 5], "counts": [10**30, 20]}, "numbers"),
        ({"size": [4, 5], "counts": [2**62, 2**62, 2**62, 2**62]}, "below"),
        ({"size": [4, 5], "counts": []}, "add up"),
        ([1, 2, 3, 4, 5, 6, 7], "three points"),
        (["1 2", [1, 2, 3, 4, 5, 6]], "lists of numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three points"),
        ([[1, 2, 3, 4, 5, None]], "numbers"),
        ([[1, 2, 3, 4, 5, "6"]], "numbers"),
        ([[1, 2, 3, 4, 5, math.nan]], "finite"),
        ([[1, 2, 3, 4, 5, math.inf]], "finite"),
        ([[0, 0, 1e9, 0, 1e9, 1e9]], "outline of more than"),
        ([[0, 0, 1e5, 0] * 200], "outline of more than"),
    ],
)
def test_malformed_segmentations_are_refused(segmentation: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rle.from_segmentation(segmentation, 4, 5)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_converted_or_refused(segmentation: object) -> None:
    with contextlib.suppress(ValueError):
        assert rle.decode(rle.from_segmentation(segmentation, 4, 5)).shape == (4, 5)


@given(
    st.lists(
        st.lists(st.floats(-1e4, 1e4) | st.integers(-100, 100), min_size=6, max_size=12),
        min_size=1,
        max_size=3,
    ),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_any_polygon_is_drawn_or_refused(
    polygons: list[list[float]], height: int, width: int
) -> None:
    try:
        coded = rle.from_segmentation(polygons, height, width)
    except ValueError:
        assert any(len(polygon) % 2 for polygon in polygons)
        return
    assert rle.decode(coded).shape == (height, width)
