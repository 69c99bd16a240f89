"""From the cuts of an image to masks at its resolution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unsam_cli import rle
from unsam_cli.divide.maskcut import Cut
from unsam_cli.divide.settings import DivideSettings
from unsam_cli.divide.upsample import guide_filter, to_pixels
from unsam_cli.found_masks import FoundMask, FoundMasks
from unsam_cli.io.features import ImageEntry, Record
from unsam_cli.io.previews import decode_preview
from unsam_cli.io.resizing import resize
from unsam_cli.refinement.found import Refinement, refinement_of
from unsam_cli.refinement.masks import resized


def whole_image(image: ImageEntry, records: Iterable[Record]) -> Record | None:
    """Return the record of the whole image, if there is one."""
    for record in records:
        if record.bbox == (0, 0, image.width, image.height) and record.rle is None:
            return record
    return None


def refinement_for(
    settings: DivideSettings, weights: str | None, device: str = "auto"
) -> tuple[Refinement | None, dict[str, str]]:
    """Create the refinement of cuts, see :func:`~unsam_cli.refinement.found.refinement_of`."""
    # Holes are filled as in MaskCut.
    return refinement_of("divide", settings.refine, weights, device, fill_holes=True)


def draw_cuts(
    image: ImageEntry,
    record: Record,
    cuts: Sequence[Cut],
    settings: DivideSettings,
    *,
    refinement: Refinement | None,
    patch_size: int,
) -> FoundMasks:
    """Bring cuts to the resolution of the image, with borders as `settings` say.

    Parameters
    ----------
    image : ImageEntry
        The image. Borders follow its preview; without one, they follow patches.
    record : Record
        Features of the whole image, which were cut.
    cuts : sequence of Cut
        The objects, on the grid of the record.
    settings : DivideSettings
        How to divide.
    refinement : Refinement, optional
        What `refinement_for` made of the settings.
    patch_size : int
        Side of a patch, in pixels.
    """
    guide, refine = None, settings.refine
    picture = decode_preview(image.preview) if refine != "none" and image.preview else None
    size = (image.height, image.width)
    if picture is None:
        refine = "none"
    elif refinement is not None:
        found = _refined(cuts, picture, record.features.shape, patch_size, refinement)
        return replace(found, table=resized(found.table, size))
    else:
        guide = guide_filter(picture, record.features.shape)
    masks = [
        FoundMask(to_pixels(cut, guide, size, refine=refine), cut.score, "divide") for cut in cuts
    ]
    return FoundMasks.of(masks, size)


def _refined(
    cuts: Sequence[Cut],
    picture: NDArray[np.uint8],
    grid: tuple[int, ...],
    patch_size: int,
    refinement: Refinement,
) -> FoundMasks:
    """Refine cuts at the size at which the features were extracted, as MaskCut does."""
    size = grid[0] * patch_size, grid[1] * patch_size
    masks = [FoundMask(rle.resize(rle.encode(cut.mask), size), cut.score, "divide") for cut in cuts]
    return refinement.apply(FoundMasks.of(masks, size), resize(picture, size))
