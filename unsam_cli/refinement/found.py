"""Refine the masks that a stage has just found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unsam_cli.found_masks import FoundMasks
from unsam_cli.refinement.masks import MapFunctor, MaskRefiner, refine_masks
from unsam_cli.refinement.methods import create_refiner
from unsam_cli.refinement.settings import RefineSettings
from unsam_cli.refinement.tally import Tally
from unsam_cli.rle import suppress

REPEATED = "like a better one"
"""Reason why a mask is dropped."""


@dataclass(frozen=True)
class Refinement:
    """A method with its rules, for the masks of any number of images.

    Attributes
    ----------
    refiner : MaskRefiner
        The method.
    settings : RefineSettings
        Which of the refined masks are accepted.
    tally : Tally
        Counts what is dropped.
    """

    refiner: MaskRefiner
    settings: RefineSettings
    tally: Tally

    def apply(
        self,
        found: FoundMasks,
        picture: NDArray[np.uint8],
        *,
        max_iou: float = 1.0,
        mapper: MapFunctor = map,
    ) -> FoundMasks:
        """Refine the masks of an image, and drop those that are not accepted.

        Parameters
        ----------
        found : FoundMasks
            The masks, the best first.
        picture : (h, w, 3) uint8
            The image at any size, RGB.
        max_iou : float
            Drop masks whose IoU with a better one is higher, since refined masks may coincide.
        mapper : callable
            A function like the built-in `map`. That of a thread pool works on several masks at
            once.

        Returns
        -------
        FoundMasks
            The masks that are kept, in the same order.
        """
        refined = refine_masks(picture, found.table, self.settings, self.refiner, mapper=mapper)
        order = np.arange(len(refined.kept))
        if max_iou < 1:
            order = order[suppress(refined.table, order, max_iou)]
        refined.dropped[REPEATED] += len(refined.kept) - len(order)
        self.tally.add(len(found), +refined.dropped)
        kept = refined.kept[order]
        return FoundMasks(
            refined.table.take(order),
            found.score[kept],
            [found.stage[i] for i in kept.tolist()],
            [found.level[i] for i in kept.tolist()],
        )


def refinement_of(
    command: str, settings: RefineSettings, weights: str | None, device: str = "auto"
) -> tuple[Refinement, dict[str, str]]:
    """Create the refinement of a command, and what the history says of it.

    Raises
    ------
    UnsamError
        The network of `cascadepsp` or its weights cannot be loaded.
    """
    refiner, inputs = create_refiner(settings, weights, device=device)
    return Refinement(refiner, settings, Tally(command)), inputs
