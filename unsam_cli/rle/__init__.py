"""Masks as run-length codes (COCO RLE), processed without full image arrays where possible.

======================  =========================================================================
`runs`                  the RLE itself: compressed counts to runs and back, checked
`codec`                 encode and decode masks and windows of masks
`geometry`              crop, paste and resize without decoding
`columns`               repeat columns
`segmentation`          polygons and other COCO segmentations, checked
`tidy`                  pieces; fill small holes and remove small islands
`table`                 the runs, areas and boxes of many masks in flat arrays
`enlarge`, `axes`       enlarge small maps and threshold them, directly to runs
`overlap`               intersections, IoU, union, non-maximum suppression, parents
`pairs`                 the pairs of two tables that overlap much
======================  =========================================================================
"""

from __future__ import annotations

from unsam_cli.rle._factors import Factors
from unsam_cli.rle.axes import Axis, Step
from unsam_cli.rle.codec import decode, decode_window, encode, encode_window
from unsam_cli.rle.columns import repeated
from unsam_cli.rle.enlarge import Enlarged, enlarge
from unsam_cli.rle.geometry import crop, paste, resize
from unsam_cli.rle.overlap import intersections, iou, merge, parents, suppress
from unsam_cli.rle.pairs import close_pairs
from unsam_cli.rle.runs import MAX_PIXELS, Rle, from_runs, to_runs
from unsam_cli.rle.segmentation import from_segmentation, outlined
from unsam_cli.rle.table import RunTable, area, boxes
from unsam_cli.rle.tidy import piece_of, tidy

__all__ = [
    "MAX_PIXELS",
    "Axis",
    "Enlarged",
    "Factors",
    "Rle",
    "RunTable",
    "Step",
    "area",
    "boxes",
    "close_pairs",
    "crop",
    "decode",
    "decode_window",
    "encode",
    "encode_window",
    "enlarge",
    "from_runs",
    "from_segmentation",
    "intersections",
    "iou",
    "merge",
    "outlined",
    "parents",
    "paste",
    "piece_of",
    "repeated",
    "resize",
    "suppress",
    "tidy",
    "to_runs",
]
