"""Processing of one image before and after the network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.backbones.base import FrameOf
from unsam_cli.errors import DataError
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
    crops : list of (h, w, 3) uint8
        The input of the network for each plan, in the size of the plan.
    """

    height: int
    width: int
    preview: bytes
    plans: list[RecordPlan]
    crops: list[NDArray[np.uint8]]


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
    # Regions are enlarged or not, one by one; of a whole image and its tiles the need is known.
    longest = None if regions is not None else _longest_needed(height, width, plans)
    rgb = pixels_of(picture, longest=longest)
    crops = [resize(_part(rgb, plan.bbox, (height, width)), plan.size) for plan in plans]
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
    return PreparedImage(height, width, encode_preview(rgb), [plan], [crop])


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


def finish_image(
    image: PreparedImage,
    grids: Iterable[NDArray[np.float32]],
    *,
    rank: int,
    dtype: str,
) -> FeatureResult:
    """Project and convert the features (h, w, C) of every record of an image.

    Parameters
    ----------
    image : PreparedImage
        The image.
    grids : iterable of (h, w, C) float32
        Features of each plan; only one of them is held at a time.
    rank : int
        Number of channels to keep; 0 keeps all.
    dtype : {"float16", "float32"}
        Type of the stored features.

    Raises
    ------
    DataError
        Features are not finite, or too large for `dtype`.
    """
    records = []
    for plan, grid in zip(image.plans, grids, strict=True):
        features = project(grid, rank) if rank else grid
        with np.errstate(over="ignore"):
            stored = features.astype(dtype)
        if not np.isfinite(stored).all():
            raise DataError(_overflow_text(features, dtype))
        records.append(Record(plan.bbox, plan.rle, plan.score, stored))
    return FeatureResult(image.height, image.width, image.preview, records)


def _overflow_text(features: NDArray[np.float32], dtype: str) -> str:
    if np.isfinite(features).all():
        return (
            f"features up to {np.abs(features).max():.3g} overflow {dtype}: use "
            "--storage-dtype float32"
        )
    return "the network returned NaN or infinite features: use --dtype float32"
