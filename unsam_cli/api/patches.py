"""Patch features of an image, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unsam_cli.api.masks import Masks
from unsam_cli.api.options import settings_from, split, step_from
from unsam_cli.backbones import Backbone, create_backbone
from unsam_cli.backbones.registry import usual_size
from unsam_cli.errors import DataError, UnsamError, UsageError, counted
from unsam_cli.extraction.pipeline import extract
from unsam_cli.extraction.plan import Regions
from unsam_cli.extraction.settings import BackboneSettings, ExtractSettings, PlanSettings
from unsam_cli.io.features import ImageEntry, Record
from unsam_cli.io.half import widen
from unsam_cli.io.pictures import ImageLike, Picture, as_picture, entry_of, pixels_of
from unsam_cli.io.previews import encode_preview
from unsam_cli.run.resources import usable_cpus
from unsam_cli.run.settings import Compute


@dataclass(frozen=True, eq=False)
class Features:
    """Patch features of one image: a grid of the whole image, or one for each of its regions.

    Attributes
    ----------
    records : list of Record
        Each has its rectangle `bbox` (x, y, w, h) in pixels, its mask `rle` or None, its `score`,
        and `features`, (h, w, C) float32.
    entry : ImageEntry
        Height and width of the image in pixels, and a preview that borders follow.
    patch_size : int
        Side of a patch, in pixels of the resized image.
    picture : Path or (H, W, 3) uint8, optional
        The image itself, to draw masks on.
    history : sequence of dict
        The steps that made them, as in a features file.
    """

    records: Sequence[Record]
    entry: ImageEntry
    patch_size: int
    picture: Picture | None = None
    history: Sequence[dict[str, Any]] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image, in pixels."""
        return self.entry.height, self.entry.width

    @property
    def grid(self) -> NDArray[np.float32]:
        """The features of the first record, (h, w, C) float32."""
        grid: NDArray[np.float32] = self.records[0].features
        return grid

    @classmethod
    def of(cls, grid: ArrayLike, image: ImageLike) -> Features:
        """Make features of a whole image from a grid that another network computed.

        Parameters
        ----------
        grid : (h, w, C) float
            One vector per patch; the patches cover the image.
        image : path, (H, W, 3) uint8 array, or PIL.Image.Image
            The image.

        Raises
        ------
        UsageError
            The grid is not (h, w, C), or not finite.

        Examples
        --------
        >>> import numpy as np, unsam_cli as unsam
        >>> grid = np.random.default_rng(0).normal(size=(12, 16, 64))
        >>> unsam.Features.of(grid, "photo.jpg")
        <Features: 1 record of a 96 x 128 image, 64 channels>
        """
        values = np.asarray(grid, dtype=np.float32)
        if values.ndim != 3 or not values.size or not np.isfinite(values).all():
            raise UsageError(f"features are (h, w, C) finite numbers, not shape {values.shape}")
        picture = as_picture(image)
        rgb = pixels_of(picture)
        height, width, _ = rgb.shape
        entry = entry_of(picture, (height, width), encode_preview(rgb))
        patch = max(1, round(height / values.shape[0]))
        return cls([Record((0, 0, width, height), None, 1.0, values)], entry, patch, picture)

    def __repr__(self) -> str:
        n = len(self.records)
        channels = self.grid.shape[2] if n else 0
        return (
            f"<Features: {counted(n, 'record')} of a {self.size[0]} x {self.size[1]} image, "
            f"{channels} channels>"
        )


@dataclass(frozen=True)
class _Item:
    path: Picture


def features(
    image: ImageLike,
    *,
    regions: Masks | None = None,
    backbone: str | Backbone = "builtin",
    weights: str | None = None,
    device: str = "auto",
    batch_size: int = 8,
    seed: int = 0,
    **options: Any,
) -> Features:
    """Compute the patch features of an image, or of regions of it.

    Parameters
    ----------
    image : path, (H, W, 3) uint8 array, or PIL.Image.Image
        The image, RGB.
    regions : Masks, optional
        One record per mask, as ``unsam extract-features --regions``; the whole image is one, too,
        with ``whole_image=True``. Without regions, the whole image is the only record.
    backbone : str or Backbone
        ``builtin``, the name of a timm vision transformer, or an object that
        :func:`~unsam_cli.backbones.create_backbone` made, which loads the network once for many
        images.
    weights : str, optional
        Checkpoint of the network, or hub id; by default the model's own.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    batch_size : int
        Crops per batch of a network.
    seed : int
        Seed of the built-in backbone, and of random weights.
    **options
        Options of ``unsam extract-features`` by name: `size`, `square`, `region_size`,
        `whole_image`, `rank` (``--project``), `storage_dtype`, `facet`, `layer`, `dtype`.

    Returns
    -------
    Features
        The same numbers as in a features file: rounded to `storage_dtype`, float16 by default.

    Raises
    ------
    UnsamError
        The image, the network or an option is not usable.

    Examples
    --------
    >>> import unsam_cli as unsam
    >>> found = unsam.features("photo.jpg", size=128)
    >>> found.grid.shape, found.grid.dtype
    ((24, 32, 256), dtype('float32'))
    """
    made = as_backbone(backbone, options, weights=weights, device=device, seed=seed)
    plan, stored = split(options, PlanSettings, ExtractSettings)
    usual = {"size": usual_size(made.name)}
    settings = settings_from(
        ExtractSettings, stored, plan=settings_from(PlanSettings, plan, **usual)
    )
    picture = as_picture(image)
    [(_, result)] = extract(
        [_Item(picture)],
        made,
        settings,
        batch_size=batch_size,
        jobs=usable_cpus(),
        regions=None if regions is None else lambda item: _regions_of(regions),
    )
    if isinstance(result, UnsamError):
        raise result
    entry = entry_of(picture, (result.height, result.width), result.preview)
    history = [*(regions.history if regions is not None else ()), _step(made, settings, seed)]
    return Features(list(map(_wide, result.records)), entry, made.patch_size, picture, history)


def _step(made: Backbone, settings: ExtractSettings, seed: int) -> dict[str, Any]:
    network: dict[str, Any] = {"backbone": made.name}
    if made.name != BackboneSettings.backbone:  # the built-in descriptor has no layers
        network |= {"facet": made.facet, "layer": made.layer}
    inputs = {"weights": made.weights}
    return step_from(
        "extract-features",
        BackboneSettings(**network),
        settings.plan,
        settings,
        Compute(),
        inputs=inputs,
        seed=seed,
    )


def as_backbone(
    backbone: str | Backbone,
    options: dict[str, Any],
    *,
    weights: str | None,
    device: str,
    seed: int,
) -> Backbone:
    """Create a backbone by name, or return a ready one; takes its options out of `options`.

    Raises
    ------
    UnsamError
        The network cannot be created, or options of a network are given to a ready one.
    """
    network = {k: options.pop(k) for k in ("facet", "layer", "dtype") if k in options}
    if isinstance(backbone, str):
        return create_backbone(backbone, weights=weights, device=device, seed=seed, **network)
    if network or weights is not None:
        raise UsageError("a ready backbone has its weights, facet, layer and dtype already")
    return backbone


def _regions_of(masks: Masks) -> Regions:
    return [(mask.rle, 1.0 if mask.score is None else mask.score) for mask in masks]


def _wide(record: Record) -> Record:
    """Return a record as a features file gives it back."""
    grid, finite = widen(record.features)
    if not finite:
        raise DataError("a record has features that are NaN")
    return replace(record, features=grid)
