"""Refine the masks that a stage has just found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unsam_cli.found_masks import FoundMasks
from unsam_cli.io.windows import Pixels
from unsam_cli.refinement.masks import MapFunctor, MaskRefiner, refine_masks
from unsam_cli.refinement.methods import create_refiner
from unsam_cli.refinement.settings import Refine, RefineSettings
from unsam_cli.rle import suppress
from unsam_cli.run.tally import Tally

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
        picture: Pixels,
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
        kept = refined.kept[order]
        self.tally.add(len(found), len(kept), refined.dropped)
        return FoundMasks(
            refined.table.take(order),
            found.score[kept],
            [found.stage[i] for i in kept.tolist()],
            [found.level[i] for i in kept.tolist()],
        )


def refinement_of(
    command: str, method: Refine, weights: str | None, device: str = "auto", **rules: Any
) -> tuple[Refinement | None, dict[str, str]]:
    """Create the refinement of the masks that a command finds, and what the history says of it.

    Parameters
    ----------
    command : str
        Its name, for the report.
    method : str
        The command's option `refine`. With ``guided`` it refines cuts or partitions itself, with
        more than their masks.
    weights : str, optional
        Weights of the network of `cascadepsp`.
    device : str
        What computes a network or a CRF, as the option ``--device``.
    **rules
        Fields of :class:`RefineSettings`: which of the refined masks are accepted.

    Returns
    -------
    Refinement, optional
        None if the masks stay as they are.
    dict of str
        Identities of its inputs.

    Raises
    ------
    UnsamError
        The network of `cascadepsp` or its weights cannot be loaded.
    """
    if method in ("none", "guided"):
        return None, {}
    settings = RefineSettings(**{"method": method, **rules})
    refiner, inputs = create_refiner(settings, weights, device=device)
    return Refinement(refiner, settings, Tally(command)), inputs
