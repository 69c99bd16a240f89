"""Masks as run-length codes (COCO RLE): never a full image array where runs will do.

======================  =========================================================================
`runs`                  the RLE itself: compressed counts to runs and back, checked
`codec`                 masks and windows of masks as arrays
`geometry`              crop, paste and resize without decoding
`segmentation`          polygons and other foreign segmentations, checked
`tidy`                  small holes and islands
`table`                 the runs, areas and boxes of many masks in flat arrays
`enlarge`, `axes`       small maps enlarged and cut, straight to runs
`overlap`               intersections, IoU, union, non-maximum suppression, parents
======================  =========================================================================
"""

from __future__ import annotations

from unsam_cli.rle._factors import Factors
from unsam_cli.rle.axes import Axis, Step
from unsam_cli.rle.codec import decode, decode_window, encode, encode_window
from unsam_cli.rle.enlarge import Enlarged, enlarge
from unsam_cli.rle.geometry import crop, paste, resize
from unsam_cli.rle.overlap import intersections, iou, merge, parents, suppress
from unsam_cli.rle.runs import MAX_PIXELS, Rle, from_runs, to_runs
from unsam_cli.rle.segmentation import from_segmentation
from unsam_cli.rle.table import RunTable, area, boxes
from unsam_cli.rle.tidy import tidy

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
    "parents",
    "paste",
    "resize",
    "suppress",
    "tidy",
    "to_runs",
]
