"""Rank clusters by contrast with their surroundings, size, compactness and sharp borders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer.levels import Candidates
from unsam_cli.conquer.settings import Rule
from unsam_cli.conquer.tree import MergeTree

FloatArray = NDArray[np.float64]

FURTHEST = 2.0
"""Largest possible distance of two normalised features."""

# Exponents of `prominence` and `merit`, chosen on the training images of BSDS500.
SIZE_EXPONENT = 0.15
SHARE_EXPONENT = 0.3
CONTRAST_EXPONENT = 0.6
CUT_EXPONENT = 4.0
BLANK_EXPONENT = 2.0
RECURRENCE_EXPONENT = 0.5
GROWTH_EXPONENT = 0.4
BLANK = 0.9
"""Weight of the invisible part of a border, so that bands of a sky do not rank as objects."""


def separation(candidates: Candidates, rule: Rule) -> FloatArray:
    """Distance of clusters from their surroundings.

    Parameters
    ----------
    candidates : Candidates
        Clusters of a merge tree.
    rule : Rule
        Rule of the tree.

    Returns
    -------
    (K,) float64
        Distance of normalised features at which each cluster merges into a larger one, 0 to 2. It
        is the same measure for all trees, except that it includes the sharpness of borders if the
        rule does.
    """
    death = candidates.death
    if rule != Rule():  # undo 1 / (1 + distance * size ** exponent)
        distance = (1.0 / np.maximum(death, 1e-6) - 1.0) * candidates.size**-rule.size
    else:
        distance = np.sqrt(2.0 - 2.0 * death)
    distance[death == -1.0] = FURTHEST  # never merges
    result: FloatArray = np.minimum(distance, FURTHEST)
    return result


def prominence(candidates: Candidates, distance: FloatArray) -> FloatArray:
    """Score clusters by distance and size only, (K,) float64 in 0..1; `distance` is (K,)."""
    return _squash(distance * candidates.size**SIZE_EXPONENT)


def growths(tree: MergeTree, node: NDArray[np.int64]) -> FloatArray:
    """Share of the cluster made by the next merge that each cluster is not: (K,) float64.

    A cluster that grows by little is nearly the next one, which usually has the better border.
    `node` (K,) are ids of the tree's clusters; one that never merges has 1.
    """
    parent = tree.parents()[node]
    return np.where(parent < 0, 1.0, 1.0 - tree.size[node] / tree.size[parent])


def merit(
    distance: FloatArray,
    share: FloatArray,
    roughness: FloatArray,
    contrast: FloatArray,
    cut: FloatArray,
    blank: FloatArray,
    recurrence: FloatArray,
    growth: FloatArray,
) -> FloatArray:
    """Score clusters by their distance, size, shape and border.

    Parameters
    ----------
    distance : (K,) float64
        Distance from the surroundings, see `separation`.
    share : (K,) float64
        Area as a fraction of the image.
    roughness : (K,) float64
        Length of the border divided by the root of the area.
    contrast : (K,) float64
        Mean difference of colour across the border, in units of CIELAB.
    cut : (K,) float64
        Fraction of the border that lies on a side of the region's box, where the crop ends and
        not necessarily the object.
    blank : (K,) float64
        Fraction of the border without visible contrast.
    recurrence : (K,) float64
        How well the cluster recurs in other trees, see :mod:`unsam_cli.conquer.recurrence`.
    growth : (K,) float64
        By how much it grows when it merges, see `growths`.

    Returns
    -------
    (K,) float64
        s / (1 + s), where ``s = distance * share ** 0.3 * (1 + contrast) ** 0.6 * (1 - cut) ** 4 *
        (1 - 0.9 * blank) ** 2 * recurrence ** 0.5 * growth ** 0.4 * compactness`` and the
        compactness is 1 for the border of a disc.
    """
    compact = 2.0 * np.sqrt(np.pi) / np.maximum(roughness, 1.0)
    seen = (1.0 - BLANK * blank) ** BLANK_EXPONENT
    sharp = (1.0 + contrast) ** CONTRAST_EXPONENT * seen * (1.0 - cut) ** CUT_EXPONENT
    stable = recurrence**RECURRENCE_EXPONENT * growth**GROWTH_EXPONENT
    return _squash(distance * share**SHARE_EXPONENT * sharp * compact * stable)


def _squash(strength: FloatArray) -> FloatArray:
    result: FloatArray = strength / (1.0 + strength)
    return result
