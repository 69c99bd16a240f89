"""The methods of refinement by name."""

from __future__ import annotations

from functools import partial

from unsam_cli.refinement.masks import MaskRefiner
from unsam_cli.refinement.settings import RefineSettings


def create_refiner(settings: RefineSettings) -> MaskRefiner:
    """Return the method that the settings name, except for a network."""
    if settings.method == "guided":
        from unsam_cli.refinement.guided_masks import refine_guided

        return refine_guided
    from unsam_cli.refinement.crf import refine_crf

    return partial(refine_crf, max_side=settings.max_side)
