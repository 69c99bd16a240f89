"""Segment an image: its features, its objects, and their parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unsam_cli.api.masks import Masks
from unsam_cli.api.options import settings_from, step_from
from unsam_cli.api.patches import Features, as_backbone, features
from unsam_cli.backbones import Backbone
from unsam_cli.conquer.settings import UNGUIDED, ConquerSettings
from unsam_cli.conquer.stage import conquer_records, guide_of
from unsam_cli.conquer.stage import refinement_for as refinement_of_parts
from unsam_cli.divide.draw import draw_cuts, refinement_for, whole_image
from unsam_cli.divide.maskcut import maskcut
from unsam_cli.divide.settings import DivideSettings
from unsam_cli.errors import UsageError
from unsam_cli.extraction.settings import OF_PARTS
from unsam_cli.found_masks import annotate
from unsam_cli.io.pictures import ImageLike, Picture, as_picture
from unsam_cli.io.windows import close, open_windows
from unsam_cli.run.parallel import spread
from unsam_cli.run.resources import usable_cpus
from unsam_cli.run.seeds import image_seed

Options = Mapping[str, Any] | None


def divide(
    features: Features,
    settings: DivideSettings | None = None,
    *,
    weights: str | None = None,
    seed: int = 0,
    **options: Any,
) -> Masks:
    """Cut an image into objects, top-down, as ``unsam divide``.

    Parameters
    ----------
    features : Features
        Of the whole image: what :func:`features` returns, or :meth:`Features.of` your own grid.
    settings : DivideSettings, optional
        The options as one object, instead of by name.
    weights : str, optional
        Weights of the network of ``refine="cascadepsp"``.
    seed : int
        Seed of the solver.
    **options
        Options of ``unsam divide`` by name: `tau`, `max_masks`, `refine`.

    Returns
    -------
    Masks
        The objects, the best first.

    Raises
    ------
    UsageError
        There is no record of the whole image, or an option is wrong.

    Examples
    --------
    >>> import unsam_cli as unsam
    >>> found = unsam.features("photo.jpg", size=128)
    >>> unsam.divide(found, max_masks=2)
    <Masks: 2 masks of a 96 x 128 image>
    """
    if not isinstance(features, Features):
        raise UsageError(
            f"divide takes Features, not {type(features).__name__}: unsam_cli.features(image), or "
            "unsam_cli.Features.of(grid, image) for a grid of your own"
        )
    settings = settings_from(DivideSettings, settings or options)
    record = whole_image(features.entry, features.records)
    if record is None:
        raise UsageError("the features have no record of the whole image: use whole_image=True")
    entry = features.entry
    cuts = maskcut(
        record.features,
        max_masks=settings.max_masks,
        tau=settings.tau,
        seed=image_seed(seed, entry.id),
    )
    refinement, inputs = refinement_for(settings, weights)
    found = draw_cuts(
        entry, record, cuts, settings, refinement=refinement, patch_size=features.patch_size
    )
    step = step_from("divide", settings, inputs=inputs, seed=seed)
    history = [*features.history, step]
    return Masks(annotate(entry.id, found), entry, features.picture, history)


def conquer(
    features: Features,
    settings: ConquerSettings | None = None,
    *,
    weights: str | None = None,
    **options: Any,
) -> Masks:
    """Merge the patches of regions bottom-up into parts and parts of parts, as ``unsam conquer``.

    Parameters
    ----------
    features : Features
        Of regions: ``features(image, regions=objects, whole_image=True)``. Features of a whole
        image alone are one region. If there are tiles, borders follow the image, not its preview.
    settings : ConquerSettings, optional
        The options as one object, instead of by name.
    weights : str, optional
        Weights of the network of ``refine="cascadepsp"``.
    **options
        Options of ``unsam conquer`` by name: `preset`, `max_masks`, `nms_iou`, `thresholds`, ...

    Returns
    -------
    Masks
        The regions and their parts, the best first.

    Raises
    ------
    UsageError
        An option is wrong.

    Examples
    --------
    >>> import unsam_cli as unsam
    >>> found = unsam.features("photo.jpg", size=128)
    >>> unsam.conquer(found, max_masks=20)
    <Masks: 20 masks of a 96 x 128 image>
    """
    if not isinstance(features, Features):
        raise UsageError(f"conquer takes Features, not {type(features).__name__}")
    settings = settings_from(ConquerSettings, settings or options)
    entry = features.entry
    refinement, inputs = refinement_of_parts(settings, weights)
    if (original := _original(features, settings)) is None:
        picture = guide_of(entry, settings)
    else:
        picture, inputs = open_windows(original), {"guide": "originals", **inputs}
    try:
        with spread(1, usable_cpus()) as (mapper, _):
            found = conquer_records(
                features.records, picture, features.size, settings, refinement, mapper=mapper
            )
    finally:
        if picture is not None:
            close(picture)
    history = [*features.history, step_from("conquer", settings, inputs=inputs, seed=0)]
    return Masks(annotate(entry.id, found), entry, features.picture, history)


def _original(features: Features, settings: ConquerSettings) -> Picture | None:
    """Return the image that borders follow; None if the preview is enough, as without tiles."""
    followed = settings.refine != "none" and (settings.preset, settings.refine) != UNGUIDED
    tiled = any(record.is_tile(*features.size) for record in features.records)
    return features.picture if followed and tiled else None


def segment(
    image: ImageLike,
    *,
    backbone: str | Backbone = "builtin",
    weights: str | None = None,
    device: str = "auto",
    seed: int = 0,
    divide: DivideSettings | Options = None,
    conquer: ConquerSettings | Options = None,
    **options: Any,
) -> Masks:
    """Segment an image into everything it contains, from objects to parts of parts.

    The masks are those of the pipe of commands ``extract-features | divide | extract-features
    --regions - --whole-image | conquer`` with the same options; with `tile`, those of
    ``conquer --images``.

    Parameters
    ----------
    image : path, (H, W, 3) uint8 array, or PIL.Image.Image
        The image, RGB.
    backbone, weights, device, seed, **options
        See :func:`features`.
    divide : DivideSettings or dict, optional
        Options of :func:`divide`, as ``{"tau": 0.2}``.
    conquer : ConquerSettings or dict, optional
        Options of :func:`conquer`, as ``{"max_masks": 50}``.

    Returns
    -------
    Masks
        The masks, the best first.

    Raises
    ------
    UnsamError
        The image, the network or an option is not usable.

    Examples
    --------
    >>> import unsam_cli as unsam
    >>> masks = unsam.segment("photo.jpg", size=128, region_size=128)
    >>> masks[0].mask.shape, masks[0].mask.dtype
    ((96, 128), dtype('bool'))
    >>> coarse = masks.at(granularity=0.5)
    >>> 0 < len(coarse) < len(masks)
    True
    """
    for_objects = settings_from(DivideSettings, divide)
    for_parts = settings_from(ConquerSettings, conquer)
    picture = as_picture(image)
    made = as_backbone(backbone, options, weights=weights, device=device, seed=seed)
    of_whole = {name: value for name, value in options.items() if name not in OF_PARTS}
    whole = features(picture, backbone=made, **of_whole)
    objects = _divide(whole, for_objects, seed=seed)
    regions = features(picture, backbone=made, regions=objects, **{"whole_image": True, **options})
    return _conquer(regions, for_parts)


_divide, _conquer = divide, conquer  # `segment` has parameters of these names
