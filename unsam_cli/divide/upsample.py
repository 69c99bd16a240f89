"""From the grid to pixels: enlarge a cut's mask and let its border follow the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli import rle
from unsam_cli.divide.guided import GuidedFilter
from unsam_cli.divide.maskcut import Cut
from unsam_cli.divide.regions import fill_holes, label
from unsam_cli.divide.settings import Refine
from unsam_cli.rle import Axis, Rle, Step

_EPS = 1e-4  # variance of colour that counts as flat: 1 % of the range of a channel
_RADIUS = 1.5  # of the filter's box, in patches
_SURE = 0.05  # least distance from 1/2 of a patch's soft value, on its own side
_CHANGED = 0.5  # a refinement whose IoU with the mask before is lower is undone


def to_pixels(
    cut: Cut,
    guide: NDArray[np.uint8] | GuidedFilter | None,
    size: tuple[int, int],
    *,
    refine: Refine = "guided",
) -> Rle:
    """Bring a cut to the resolution of its image.

    Parameters
    ----------
    cut : Cut
        The cut; its grid covers the whole image.
    guide : (gh, gw, 3) uint8 or GuidedFilter
        The image at any size, such as its preview; or what :func:`guide_filter` made of it, for
        several cuts of one image. Not used without refinement.
    size : (H, W)
        Size of the image, pixels.
    refine : "guided" or "none"
        Whether the border follows the edges of the guide, or those of the patches.

    Returns
    -------
    Rle
        The mask. It is empty only if the image has fewer pixels than the grid has patches.

    Raises
    ------
    ValueError
        A guide is needed and missing, or an option is unknown.

    Notes
    -----
    MaskCut refines with a dense CRF. Here a guided filter smooths the eigenvector, squashed to
    [0, 1] and cut off one patch outside the mask, under the guide; as there, holes are then filled,
    the piece around the seed is kept, and a result whose IoU with the mask before is under 0.5 is
    not taken: the mask before is kept.
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
    """Prepare a guide (gh, gw, 3) uint8 for cuts on a grid (h, w)."""
    patch = max(guide.shape[0] / grid[0], guide.shape[1] / grid[1])
    return GuidedFilter(guide, radius=min(max(round(_RADIUS * patch), 1), 1024), eps=_EPS)


def _core(cut: Cut) -> NDArray[np.bool_]:
    """Component (h, w) bool of a cut that holds its seed; of equal seeds the largest one's."""
    labels, sizes = label(cut.mask)
    peaks = np.where(cut.mask, cut.eigenvector, -np.inf)
    held = np.unique(labels[peaks >= peaks.max() - 1e-4 * abs(peaks.max())])
    core: NDArray[np.bool_] = labels == held[sizes[held].argmax()]
    return core


def _piece(mask: NDArray[np.bool_], core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Component of a mask that has most in common with another one: an object is in one piece."""
    labels, sizes = label(mask)
    if not len(sizes):
        return mask
    shared = np.bincount(labels[core & mask], minlength=len(sizes))
    kept: NDArray[np.bool_] = labels == shared.argmax()
    return kept


def _soft(cut: Cut) -> NDArray[np.float32]:
    """How surely each patch (h, w) belongs to the mask, in [0, 1]: over 1/2 inside, below outside.

    Patches that the cut was unsure of let the filter move the border across them.
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
