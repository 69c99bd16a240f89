"""From the grid to pixels: enlarge a cut's mask and let its border follow the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli import rle
from unsam_cli.divide.maskcut import Cut
from unsam_cli.refinement.guided import GuidedFilter
from unsam_cli.refinement.regions import fill_holes, label
from unsam_cli.refinement.settings import Refine
from unsam_cli.rle import Axis, Rle, Step

_EPS = 1e-4  # variance of colour that counts as flat: 1 % of the range of a channel
_RADIUS = 1.5  # half side of the filter's box, in patches
_SURE = 0.05  # least distance of a patch's soft value from 1/2
_CHANGED = 0.5  # a refined mask needs a higher IoU with the mask before


def to_pixels(
    cut: Cut,
    guide: NDArray[np.uint8] | GuidedFilter | None,
    size: tuple[int, int],
    *,
    refine: Refine = "guided",
) -> Rle:
    """Enlarge the mask of a cut to the resolution of its image.

    Parameters
    ----------
    cut : Cut
        The cut. Its grid covers the whole image.
    guide : (gh, gw, 3) uint8 or GuidedFilter, optional
        The image at any size, such as its preview; or the result of :func:`guide_filter`, which
        serves several cuts of one image. It is not used if `refine` is "none".
    size : (H, W)
        Height and width of the image, in pixels.
    refine : "guided" or "none"
        Whether the border follows the edges of the guide or those of the patches.

    Returns
    -------
    Rle
        The mask. It can be empty only if the image has fewer pixels than the grid has patches.

    Raises
    ------
    ValueError
        `refine` is unknown, or it is "guided" and there is no guide.

    Notes
    -----
    The published MaskCut refines with a dense CRF. Here the eigenvector is mapped to [0, 1], set to
    0 from one patch outside the mask on, and smoothed by a guided filter. The next steps are those
    of MaskCut: holes are filled and one piece is kept. If the IoU of the result with the mask
    before is at most 0.5, the mask before is kept.
    """
    coarse = rle.encode(cut.mask)
    if refine == "none":
        return rle.resize(coarse, size)
    if refine != "guided":
        raise ValueError(f"refine must be 'guided' or 'none', not {refine!r}")
    if guide is None:
        raise ValueError("guided refinement needs a guide: give the image or its preview")
    filtering = guide if isinstance(guide, GuidedFilter) else guide_filter(guide, cut.mask.shape)
    core = _core(cut)
    before = rle.decode(rle.resize(rle.encode(core), filtering.shape))
    (h, w), (gh, gw) = cut.mask.shape, filtering.shape
    rows, columns = Step.of(h, gh, gh), Step.of(w, gw, gw)
    soft = filtering.filter(columns.mix(rows.mix(_soft(cut)).T).T)
    after = _piece(fill_holes(soft > 0.5), before)
    if (before & after).sum() <= _CHANGED * (before | after).sum():
        return rle.resize(rle.encode(core), size)
    # Interpolating the soft mask keeps its border smooth when the image is larger than the guide.
    soft[~after & (soft > 0.5)] = 0
    soft[after & (soft <= 0.5)] = 1
    soft -= 0.5
    found = rle.enlarge(soft[None], Axis.of(gh, size[0]), Axis.of(gw, size[1]))
    if not len(found.runs):
        return rle.resize(rle.encode(core), size)
    return rle.from_runs(found.runs, size)


def guide_filter(guide: NDArray[np.uint8], grid: tuple[int, ...]) -> GuidedFilter:
    """Prepare the filter of a guide (gh, gw, 3) uint8 for cuts on a grid (h, w) of patches."""
    patch = max(guide.shape[0] / grid[0], guide.shape[1] / grid[1])
    return GuidedFilter(guide, radius=min(max(round(_RADIUS * patch), 1), 1024), eps=_EPS)


def _core(cut: Cut) -> NDArray[np.bool_]:
    """Component (h, w) bool of a cut with the highest eigenvector; the largest one of a tie."""
    labels, sizes = label(cut.mask)
    peaks = np.where(cut.mask, cut.eigenvector, -np.inf)
    held = np.unique(labels[peaks >= peaks.max() - 1e-4 * abs(peaks.max())])
    core: NDArray[np.bool_] = labels == held[sizes[held].argmax()]
    return core


def _piece(mask: NDArray[np.bool_], core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Component of a mask that shares most pixels with `core`, since an object is one piece."""
    labels, sizes = label(mask)
    if not len(sizes):
        return mask
    shared = np.bincount(labels[core & mask], minlength=len(sizes))
    kept: NDArray[np.bool_] = labels == shared.argmax()
    return kept


def _soft(cut: Cut) -> NDArray[np.float32]:
    """Confidence that each patch belongs to the mask, (h, w) float32 in [0, 1].

    It is above 1/2 inside the mask and below 1/2 outside. Where it is close to 1/2, the filter can
    move the border.
    """
    mask, v = cut.mask, cut.eigenvector
    deviation = float(v.std())
    sure = 0.5 + 0.5 * np.tanh(1.5 * (v - v.mean()) / (deviation or 1.0))
    near = mask.copy()
    near[1:] |= mask[:-1]
    near[:-1] |= mask[1:]
    near[:, 1:] |= mask[:, :-1]
    near[:, :-1] |= mask[:, 1:]
    outside = np.where(near, np.minimum(sure, 0.5 - _SURE), 0.0)
    return np.where(mask, np.maximum(sure, 0.5 + _SURE), outside).astype(np.float32)
