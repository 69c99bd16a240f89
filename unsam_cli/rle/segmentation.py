"""COCO segmentations of other programs, which are not trusted, to checked RLE."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as cocomask

from unsam_cli.rle.runs import Rle, checked_size, from_runs, to_runs

_LONGEST_OUTLINE = 2**24  # pixels; pycocotools allocates ten points for each without a limit


def from_segmentation(segmentation: Any, height: int, width: int) -> Rle:
    """Convert any COCO segmentation to compressed RLE.

    Parameters
    ----------
    segmentation : object
        A list of polygons ``[x0, y0, x1, y1, ...]`` in pixels, whose union is the mask, or one
        such polygon; or a dict of size and counts, which are compressed (text) or not (a list of
        int). Points may also be pairs. Polygons of fewer than three points have no area and are
        left out.
    height, width : int
        Size of the image, in pixels.

    Returns
    -------
    Rle
        In canonical form: equal masks have equal bytes.

    Raises
    ------
    ValueError
        If the segmentation is malformed or of another size than the image.
    """
    height, width = checked_size((height, width))
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, height, width)
    if not isinstance(segmentation, dict):
        raise ValueError(
            "segmentation must be a list of polygons or an object with size and counts, "
            f"got {type(segmentation).__name__}"
        )
    size = checked_size(_whole_sides(segmentation.get("size")))
    if size != (height, width):
        raise ValueError(
            f"segmentation size {size[0]}x{size[1]} differs from the image's {height}x{width}"
        )
    counts = segmentation.get("counts")
    if isinstance(counts, list):
        return _from_counts(counts, height, width)
    return from_runs(to_runs({"size": [height, width], "counts": counts}), (height, width))  # type: ignore[typeddict-item]


def outlined(segmentation: list[Any]) -> bool:
    """Return whether a list of polygons has one that can have an area, valid or not."""
    return any(not isinstance(ring, list) or _counts(ring) for ring in _rings(segmentation))


def _whole_sides(size: Any) -> Any:
    """Return a size whose sides are integers if they were written as floats."""
    if not isinstance(size, list):
        return size
    return [int(n) if isinstance(n, float) and n.is_integer() else n for n in size]


def _rings(segmentation: list[Any]) -> list[Any]:
    """Return polygons as lists of numbers; null is no polygon.

    A polygon may stand alone instead of in a list, and its points may be pairs.
    """
    if segmentation and all(isinstance(v, int | float) for v in segmentation):
        return [segmentation]
    if len(segmentation) > 2 and all(_is_point(v) for v in segmentation):
        segmentation = [segmentation]
    return [
        [v for point in ring for v in point]
        if isinstance(ring, list) and ring and all(map(_is_point, ring))
        else ring
        for ring in segmentation
        if ring is not None
    ]


def _counts(ring: list[Any]) -> bool:
    """Whether a polygon can have an area, or is wrong: no list of numbers."""
    return len(ring) > 5 or not all(isinstance(v, int | float) for v in ring)


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and not isinstance(value[0], list)


def _from_counts(counts: list[Any], height: int, width: int) -> Rle:
    values = _numbers(counts, "counts")
    if np.any(values != np.floor(values)):
        raise ValueError("counts must be whole numbers")
    if np.any(values < 0) or values.sum() != height * width:
        raise ValueError(
            f"counts must not be negative and add up to the image's {height * width} pixels"
        )
    edges = np.cumsum(values).astype(np.int64)
    edges = edges[: len(edges) // 2 * 2].reshape(-1, 2)
    return from_runs(edges[edges[:, 0] < edges[:, 1]], (height, width))


def _from_polygons(polygons: list[Any], height: int, width: int) -> Rle:
    rings = _rings(polygons)
    if not all(isinstance(ring, list) for ring in rings):
        raise ValueError("polygons must be lists of numbers x0, y0, x1, y1, ...")
    outlines = [_outline(ring) for ring in rings if _counts(ring)]
    if not outlines:
        return from_runs(np.empty((0, 2), dtype=np.int64), (height, width))
    if sum(_steps(outline) for outline in outlines) > _LONGEST_OUTLINE:
        raise ValueError(f"polygons have an outline of more than {_LONGEST_OUTLINE} pixels")
    flat = [outline.ravel().tolist() for outline in outlines]
    merged = cocomask.merge(cocomask.frPyObjects(flat, height, width))
    drawn: Rle = {"size": [height, width], "counts": bytes(merged["counts"])}
    return from_runs(to_runs(drawn), (height, width))


def _outline(polygon: list[Any]) -> NDArray[np.float64]:
    if len(polygon) % 2:
        raise ValueError("a polygon needs at least three points, as numbers x0, y0, x1, y1, ...")
    return _numbers(polygon, "polygon").reshape(-1, 2)


def _steps(outline: NDArray[np.float64]) -> float:
    """Return the length of an outline in pixels, where diagonal steps count as one."""
    edges = np.abs(np.diff(outline, axis=0, append=outline[:1])).max(axis=1)
    return float(edges.sum())


def _numbers(values: list[Any], name: str) -> NDArray[np.float64]:
    """Convert a list of finite numbers below 2**31 to float64; raise ValueError otherwise."""
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        array = np.array(None)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iuf"):
        raise ValueError(f"{name} must be numbers")
    numbers = array.astype(np.float64)
    if not np.all(np.abs(numbers) < 2**31):  # also false for nan
        raise ValueError(f"{name} must be finite and below 2**31")
    return numbers
