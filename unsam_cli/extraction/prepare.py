"""Processing of one image before and after the network."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.backbones.base import FrameOf
from unsam_cli.errors import DataError, counted
from unsam_cli.extraction.plan import RecordPlan, Regions, plan_records
from unsam_cli.extraction.project import project
from unsam_cli.extraction.settings import PlanSettings
from unsam_cli.io.features import Record
from unsam_cli.io.pictures import Picture, pixels_of, size_of
from unsam_cli.io.previews import PREVIEW, encode_preview
from unsam_cli.io.resizing import resize
from unsam_cli.io.sizes import check_size
from unsam_cli.io.windows import Windows, open_windows
from unsam_cli.run.feature_sink import FeatureResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of an image, (h, w, 3) uint8, that is resized to `shape` when it is needed.

    Thousands of resized tiles would take more memory than the image.
    """

    part: NDArray[np.uint8]
    shape: tuple[int, int, int]

    def pixels(self) -> NDArray[np.uint8]:
        """Return the input of the network."""
        return resize(self.part, self.shape[:2])

    def resized(self) -> Crop:
        """Return the same, resized already, without the rest of the image."""
        return Crop(np.ascontiguousarray(self.pixels()), self.shape)


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image prepared for the network.

    Attributes
    ----------
    height, width : int
        Height and width of the image, in pixels.
    preview : bytes
        A small JPEG, see :func:`~unsam_cli.io.previews.encode_preview`.
    plans : list of RecordPlan
        The records.
    crops : list of Crop
        The input of the network for each plan, in the size of the plan.
    """

    height: int
    width: int
    preview: bytes
    plans: list[RecordPlan]
    crops: list[Crop]

    def result(self, records: Sequence[Record]) -> FeatureResult:
        """Return the result, with these records."""
        return FeatureResult(self.height, self.width, self.preview, records)


def prepare_image(
    picture: Picture,
    regions: Regions | None,
    *,
    patch_size: int,
    settings: PlanSettings,
) -> PreparedImage:
    """Decode an image and crop its records.

    Parameters
    ----------
    picture : Path or (H, W, 3) uint8
        The image.
    regions, patch_size, settings
        See :func:`~unsam_cli.extraction.plan.plan_records`.

    Raises
    ------
    MissingInputError, ImageFileError, MaskFileError
        The image or its masks cannot be used.
    """
    height, width = size_of(picture)
    if regions:
        rows, columns = regions[0][0]["size"]
        check_size(picture, (height, width), (rows, columns))
    plans = plan_records(height, width, patch_size=patch_size, settings=settings, regions=regions)
    if empty := len(regions or ()) - sum(plan.rle is not None for plan in plans):
        place = picture if isinstance(picture, Path) else "the image"
        logger.warning("%s: %s without a pixel, no record", place, counted(empty, "mask"))
    # Regions are enlarged or not, one by one; of a whole image and its tiles the need is known.
    longest = None if regions is not None else _longest_needed(height, width, plans)
    rgb = pixels_of(picture, longest=longest)
    crops = [Crop(_part(rgb, plan.bbox, (height, width)), (*plan.size, 3)) for plan in plans]
    return PreparedImage(height, width, encode_preview(rgb), plans, crops)


def prepare_framed(picture: Picture, frame_of: FrameOf) -> PreparedImage:
    """Decode an image and resize it for a network with a fixed input size.

    `frame_of` returns where an image of a size (H, W) lies in the input.

    Raises
    ------
    MissingInputError, ImageFileError
        The image cannot be used.
    """
    rgb = open_windows(picture)
    height, width, _ = rgb.shape
    crop = frame_of((height, width)).resized(rgb)
    plan = RecordPlan((0, 0, width, height), None, 1.0, (crop.shape[0], crop.shape[1]))
    if isinstance(rgb, Windows):
        rgb.close()
        rgb = pixels_of(picture, longest=PREVIEW)
    return PreparedImage(height, width, encode_preview(rgb), [plan], [Crop(crop, crop.shape)])


def _longest_needed(height: int, width: int, plans: Sequence[RecordPlan]) -> int:
    """Return the least longest side, in pixels, that suffices for `plans` and for a preview."""
    sides = [(plan.size[0] / plan.bbox[3], plan.size[1] / plan.bbox[2]) for plan in plans]
    scale = max(max(pair) for pair in sides)
    return max(math.ceil(scale * max(height, width)), PREVIEW)


def _part(
    rgb: NDArray[np.uint8], bbox: tuple[int, int, int, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Cut a box of an image of `size` (H, W) out of that image, or of a smaller copy of it."""
    x, y, w, h = bbox
    scale_y, scale_x = rgb.shape[0] / size[0], rgb.shape[1] / size[1]
    rows = slice(round(y * scale_y), max(round((y + h) * scale_y), round(y * scale_y) + 1))
    columns = slice(round(x * scale_x), max(round((x + w) * scale_x), round(x * scale_x) + 1))
    return rgb[rows, columns]


def stored_features(
    grid: NDArray[np.float32], *, rank: int, dtype: str
) -> NDArray[np.floating[Any]]:
    """Project and convert the features (h, w, C) of a record.

    Parameters
    ----------
    grid : (h, w, C) float32
        What the network returned.
    rank : int
        Number of channels to keep; 0 keeps all.
    dtype : {"float16", "float32"}
        Type of the stored features.

    Raises
    ------
    DataError
        Features are not finite, or too large for `dtype`.
    """
    features = project(grid, rank) if rank else grid
    with np.errstate(over="ignore"):
        stored: NDArray[np.floating[Any]] = features.astype(dtype)
    if not np.isfinite(stored).all():
        raise DataError(_overflow_text(features, dtype))
    return stored


def _overflow_text(features: NDArray[np.float32], dtype: str) -> str:
    if np.isfinite(features).all():
        return (
            f"features up to {np.abs(features).max():.3g} overflow {dtype}: use "
            "--storage-dtype float32"
        )
    return "the network returned NaN or infinite features: use --dtype float32"
