"""The methods of refinement by name."""

from __future__ import annotations

from functools import partial

from unsam_cli.backbones import accelerator
from unsam_cli.refinement.masks import MaskRefiner
from unsam_cli.refinement.settings import RefineSettings


def create_refiner(
    settings: RefineSettings,
    weights: str | None = None,
    *,
    device: str = "auto",
    batch_size: int = 1,
) -> tuple[MaskRefiner, dict[str, str]]:
    """Return the method that the settings name, and what the history says of it.

    Parameters
    ----------
    settings : RefineSettings
        How to refine.
    weights, device, batch_size
        Weights of a network, where it computes, and how many crops at a time.

    Returns
    -------
    MaskRefiner
        The method.
    dict of str
        Identities of its inputs.

    Raises
    ------
    UnsamError
        The network or its weights cannot be loaded.
    """
    if settings.method == "guided":
        from unsam_cli.refinement.guided_masks import refine_guided

        return refine_guided, {}
    if settings.method == "crf":
        from unsam_cli.refinement.crf import refine_crf

        return partial(refine_crf, max_side=settings.max_side), {}
    from unsam_cli.refinement.cascadepsp_files import load_cascadepsp

    where = accelerator(device) or "cpu"
    network, identity = load_cascadepsp(weights, settings, device=where, batch_size=batch_size)
    return network, {"weights": identity}
