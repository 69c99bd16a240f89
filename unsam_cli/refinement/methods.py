"""The methods of refinement by name."""

from __future__ import annotations

from functools import partial

from unsam_cli.backbones import accelerator
from unsam_cli.errors import UsageError
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
    weights : str, optional
        Weights of a network.
    device : str
        What computes a network or a CRF, as the option ``--device``.
    batch_size : int
        Crops for a network at a time.

    Returns
    -------
    MaskRefiner
        The method.
    dict of str
        Identities of its inputs.

    Raises
    ------
    UsageError
        There is no such method.
    UnsamError
        The network or its weights cannot be loaded, or the device does not exist.
    """
    method: str = settings.method
    if method == "guided":
        from unsam_cli.refinement.guided_masks import refine_guided

        return refine_guided, {}
    if method == "crf":
        from unsam_cli.refinement.crf import refine_crf

        where = accelerator(device)
        return partial(refine_crf, max_side=settings.max_side, device=where), {}
    if method != "cascadepsp":
        raise UsageError(f"method is {method!r}, which no function refines with")
    from unsam_cli.refinement.cascadepsp_files import load_cascadepsp

    network, identity = load_cascadepsp(
        weights, settings, device=accelerator(device) or "cpu", batch_size=batch_size
    )
    return network, {"weights": identity}
