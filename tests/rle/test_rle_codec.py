from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pycocotools import mask as cocomask

from unsam_cli import rle
from unsam_cli.rle.codec import BoolArray

# pycocotools 2.0.11 under numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
MASKS = arrays(np.bool_, SHAPES, elements=st.booleans(), fill=st.booleans())


def reference(mask: BoolArray) -> rle.Rle:
    coded: rle.Rle = cocomask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return coded


@st.composite
def windows(draw: st.DrawFn) -> tuple[BoolArray, int, int, int, int]:
    mask = draw(MASKS)
    height, width = mask.shape
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    w, h = draw(st.integers(1, width - x)), draw(st.integers(1, height - y))
    return mask, x, y, w, h


@given(MASKS)
def test_encode_gives_the_bytes_of_pycocotools(mask: BoolArray) -> None:
    coded = rle.encode(mask)
    assert coded == reference(mask)
    np.testing.assert_array_equal(rle.decode(coded), mask)
    assert rle.from_runs(rle.to_runs(coded), mask.shape) == coded


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (17, 40)])
@pytest.mark.parametrize("value", [False, True])
def test_degenerate_masks(shape: tuple[int, int], value: bool) -> None:
    mask = np.full(shape, value)
    coded = rle.encode(mask)
    assert coded == reference(mask)
    assert rle.to_runs(coded).tolist() == ([[0, mask.size]] if value else [])
    assert rle.area([coded]).tolist() == [mask.sum()]
    box = [0, 0, shape[1], shape[0]] if value else [0, 0, 0, 0]
    assert rle.boxes([coded]).tolist() == [box]


def test_large_counts_round_trip() -> None:
    size = (16384, 32768)  # exactly MAX_PIXELS
    runs = np.array([[3, 5], [2**28, 2**28 + 1], [2**29 - 7, 2**29]])
    np.testing.assert_array_equal(rle.to_runs(rle.from_runs(runs, size)), runs)


@given(st.lists(MASKS, max_size=6))
def test_area_and_boxes_are_those_of_the_arrays(masks: list[BoolArray]) -> None:
    coded = [rle.encode(mask) for mask in masks]
    assert rle.area(coded).tolist() == [int(mask.sum()) for mask in masks]
    expected = []
    for mask in masks:
        rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
        if not rows.size:
            expected.append([0, 0, 0, 0])
            continue
        (x, y), (right, bottom) = (columns[0], rows[0]), (columns[-1], rows[-1])
        expected.append([x, y, right - x + 1, bottom - y + 1])
    assert rle.boxes(coded).tolist() == expected


@given(windows())
def test_windows_are_slices(case: tuple[BoolArray, int, int, int, int]) -> None:
    mask, x, y, w, h = case
    part = mask[y : y + h, x : x + w]
    full = np.zeros_like(mask)
    full[y : y + h, x : x + w] = part
    coded = rle.encode(mask)
    np.testing.assert_array_equal(rle.decode_window(coded, x, y, w, h), part)
    assert rle.encode_window(part, x, y, mask.shape) == rle.encode(full)
    assert rle.crop(coded, x, y, w, h) == rle.encode(part)
    assert rle.paste(rle.encode(part), x, y, mask.shape) == rle.encode(full)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.float32])
def test_any_layout_and_type_can_be_encoded(order: str, dtype: type) -> None:
    mask = np.random.default_rng(0).random((40, 30)) > 0.6
    given_mask = np.array(mask * 2, dtype=dtype, order=order)  # type: ignore[call-overload]
    assert rle.encode(given_mask) == reference(mask)
    assert rle.encode(given_mask[::2, ::-1]) == reference(mask[::2, ::-1])


def test_an_empty_window_is_allowed() -> None:
    empty = rle.encode(np.zeros((4, 5), dtype=bool))
    assert rle.decode_window(empty, 5, 4, 0, 0).shape == (0, 0)
    assert rle.encode_window(np.zeros((0, 3), dtype=bool), 1, 1, (4, 5)) == empty


@pytest.mark.parametrize("window", [(-1, 0, 2, 2), (0, 0, 6, 1), (3, 3, 1, 2), (0, 0, -1, 1)])
def test_windows_outside_the_image_are_refused(window: tuple[int, int, int, int]) -> None:
    coded = rle.encode(np.ones((4, 5), dtype=bool))
    with pytest.raises(ValueError, match="not inside the image of 4x5"):
        rle.decode_window(coded, *window)
    with pytest.raises(ValueError, match="not inside the image of 4x5"):
        rle.crop(coded, *window)
    with pytest.raises(ValueError, match="not inside the image"):
        rle.paste(coded, 1, 0, (4, 5))


@given(MASKS, st.integers(1, 50), st.integers(1, 50))
def test_resize_takes_the_nearest_pixel(mask: BoolArray, h: int, w: int) -> None:
    height, width = mask.shape
    rows = (2 * np.arange(h) + 1) * height // (2 * h)
    columns = (2 * np.arange(w) + 1) * width // (2 * w)
    assert rle.resize(rle.encode(mask), (h, w)) == rle.encode(mask[np.ix_(rows, columns)])


def test_resize_agrees_with_pillow() -> None:
    mask = np.random.default_rng(1).random((48, 32)) > 0.5
    for size in [(96, 64), (24, 16), (144, 128)]:
        picture = Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST)
        assert rle.resize(rle.encode(mask), size) == rle.encode(np.asarray(picture))


def test_resize_of_a_full_mask_stays_small() -> None:
    full = rle.encode(np.ones((3, 2), dtype=bool))
    assert rle.to_runs(rle.resize(full, (16384, 32768))).tolist() == [[0, 2**29]]


def test_from_runs_merges_and_checks() -> None:
    size = (4, 5)
    expected = rle.from_runs(np.array([[2, 9]]), size)
    assert rle.from_runs(np.array([[0, 0], [2, 5], [5, 5], [5, 9], [9, 9]]), size) == expected
    for bad in ([[2, 5], [4, 6]], [[5, 4]], [[18, 21]], [[-1, 2]], [[6, 8], [1, 2]]):
        with pytest.raises(ValueError, match="ascend without overlap"):
            rle.from_runs(np.array(bad), size)


GOOD = rle.encode(np.eye(4, dtype=bool))["counts"]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (b"", "less than the image's 16"),
        (b"5", "less than the image's 16"),
        (b"1" * 5, "less"),
        (b"zzzzzz", "outside the RLE alphabet"),
        (b"0\x80", "outside the RLE alphabet"),
        ("\u0660", "outside the RLE alphabet"),
        ("?", "less"),
        (b"!", "outside the RLE alphabet"),
        (b"P", "in the middle of a number"),
        (b"O", "negative"),
        (b"oo0", "more than the image's 16"),
        (b"ooooooooooooooooooo0", "too large"),
        (GOOD + b"1", "more"),
        (GOOD[:-1], "less"),
        (7, "must be text"),
        ([16], "must be text"),
        (None, "must be text"),
    ],
)
def test_malformed_counts_are_refused_everywhere(counts: object, message: str) -> None:
    bad: rle.Rle = {"size": [4, 4], "counts": counts}  # type: ignore[typeddict-item]
    with pytest.raises(ValueError, match=message):
        rle.decode(bad)
    with pytest.raises(ValueError, match=message):
        rle.merge([bad, bad])
    with pytest.raises(ValueError, match=f"mask 1: .*{message}"):
        rle.RunTable.from_rles([{"size": [4, 4], "counts": GOOD}, bad])


@pytest.mark.parametrize(
    "size", [None, 4, [4], [4, 4, 4], [0, 4], [-4, -4], [4.5, 4.0], ["4", "4"], [2**15, 2**15]]
)
def test_impossible_sizes_are_refused(size: object) -> None:
    with pytest.raises(ValueError, match="size"):
        rle.decode({"size": size, "counts": GOOD})  # type: ignore[typeddict-item]
    with pytest.raises(ValueError, match="size"):
        rle.from_segmentation({"size": size, "counts": GOOD}, 4, 4)


@given(st.binary(max_size=40), st.integers(1, 40), st.integers(1, 40))
def test_any_bytes_decode_or_are_refused(counts: bytes, height: int, width: int) -> None:
    coded: rle.Rle = {"size": [height, width], "counts": counts}
    try:
        runs = rle.to_runs(coded)
    except ValueError:
        return
    assert rle.decode(coded).sum() == np.diff(runs, axis=1).sum()


@given(MASKS, st.lists(st.integers(0, 63), max_size=6), st.integers(0, 100))
def test_near_misses_decode_or_are_refused(mask: BoolArray, edit: list[int], place: int) -> None:
    counts = rle.encode(mask)["counts"]
    place %= len(counts) + 1
    counts = counts[:place] + bytes(48 + digit for digit in edit) + counts[place + len(edit) // 2 :]
    try:
        decoded = rle.decode({"size": list(mask.shape), "counts": counts})
    except ValueError:
        return
    # Whatever we accept means the same to pycocotools.
    peer = cocomask.decode({"size": list(mask.shape), "counts": counts})
    np.testing.assert_array_equal(decoded, peer.astype(bool))


@pytest.mark.parametrize("batch", [1, 7, 1 << 20])
def test_all_masks_of_a_table_are_encoded_as_each_alone(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr("unsam_cli.rle.encoding.BATCH", batch)
    masks = np.random.default_rng(0).random((9, 13, 11)) < np.linspace(0, 1, 9)[:, None, None]
    table = rle.RunTable.from_rles([rle.encode(mask) for mask in masks])
    assert table.to_rles() == [table.rle(k) for k in range(9)]
    assert table.take(np.array([], dtype=np.int64)).to_rles() == []
    bad = table.runs.copy()
    bad[table.offsets[3] + 1] = bad[table.offsets[3]]
    broken = rle.RunTable(table.size, table.offsets, bad, table.areas, table.boxes)
    with pytest.raises(ValueError, match="mask 3: runs must ascend"):
        broken.to_rles()
