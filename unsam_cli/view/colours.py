"""Distinct colours for the masks of one image: a part always differs from its whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GOLDEN = (5**0.5 - 1) / 2
_APART = 60.0  # least difference in hue between a mask and its parts, in degrees
_LIGHTNESS = (0.76, 0.66, 0.84)  # by depth, so that parts and wholes also differ in lightness
_CHROMA = 0.15


def hierarchy_colours(parents: NDArray[np.int64], depths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Choose a colour for every mask, see :func:`hierarchy_tones`.

    Parameters
    ----------
    parents, depths : (n,) int64
        As in :func:`hierarchy_tones`.

    Returns
    -------
    (n, 3) uint8
        Colour of each mask, in sRGB.
    """
    return colours_of(hierarchy_tones(parents, depths))


def hierarchy_tones(
    parents: NDArray[np.int64],
    depths: NDArray[np.int64],
    *,
    given: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Choose hue and lightness for every mask.

    The hue of the k-th child is the k-th point of the golden-ratio sequence on the arc of 240
    degrees that is at least 60 degrees away from its parent's hue. Wholes use the full circle in
    the same way. Hues are those of OKLCH [1]_, where equal steps look equally large.

    Parameters
    ----------
    parents : (n,) int64
        Index of each mask's parent, or -1. Children are numbered in the order of their indices.
    depths : (n,) int64
        Number of ancestors of each mask.
    given : (n, 2) float64, optional
        Tones that masks have already; NaN for a mask that has none.

    Returns
    -------
    (n, 2) float64
        Hue in degrees and lightness, 0..1.

    References
    ----------
    .. [1] B. Ottosson, A perceptual color space for image processing, 2020.
    """
    lightness = np.asarray(_LIGHTNESS)[np.asarray(depths, dtype=np.intp) % len(_LIGHTNESS)]
    tones = np.stack([np.full(len(parents), np.nan), lightness], axis=-1)
    if given is not None:
        tones = np.where(np.isnan(given), tones, given)
    born: dict[int, int] = {}
    for i in np.argsort(depths, kind="stable").tolist():
        parent = int(parents[i])
        turn = (0.11 + born.get(parent, 0) * _GOLDEN) % 1.0
        born[parent] = born.get(parent, 0) + 1
        base, arc = (tones[parent, 0] + _APART, 360.0 - 2 * _APART) if parent >= 0 else (0.0, 360.0)
        if np.isnan(tones[i, 0]):
            tones[i, 0] = (base + arc * turn) % 360.0
    return tones


def colours_of(tones: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the colours of tones, hue in degrees and lightness: (n, 3) uint8 in sRGB."""
    hue, lightness = np.radians(tones[:, 0]), tones[:, 1]
    return _oklch_to_srgb(lightness, np.full(len(tones), _CHROMA), hue)


def _oklch_to_srgb(
    lightness: NDArray[np.float64], chroma: NDArray[np.float64], hue: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Convert OKLCH to 8-bit sRGB, clipped to the gamut, with the constants of its definition."""
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    lms = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ],
        axis=-1,
    )
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(lms**3 @ to_linear.T, 0.0, 1.0)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(255 * srgb), dtype=np.uint8)
