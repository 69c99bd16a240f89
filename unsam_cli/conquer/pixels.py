"""From a partition of patches to one of pixels, and to the runs of all clusters at once.

Only the finest partition is refined: each of its labels competes for every pixel near its border.
Coarser clusters are unions of those labels, so masks nest exactly and leave no gaps, and the cost
does not depend on how many masks there are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.colour import rgb_to_lab
from unsam_cli.conquer._piece_kernels import keep_largest
from unsam_cli.conquer._pixel_kernels import (
    borders,
    compete,
    outline_runs,
    remove_specks,
)
from unsam_cli.sampling import nearest

IntArray = NDArray[np.int64]
Labels = NDArray[np.int32]

REACH = 1.5
"""Half side of the window of votes, patches: a border is at most about one patch off."""
SAMPLES = 2
"""Votes along a patch's side: more add cost, not accuracy."""
CONTRAST = 8.0
"""Distance in CIELAB at which a neighbour's vote has lost 1 - exp(-1/2)."""
ROUNDS = 2
WEIGHT = 1 << 14
"""Whole number that stands for a weight of 1."""


def refine_labels(labels: Labels, guide: NDArray[np.uint8], *, rounds: int = ROUNDS) -> Labels:
    """Upsample a label image so that its borders follow the edges of a picture.

    Joint bilateral upsampling of labels: a pixel takes the label for which most pixels around it
    vote, near ones and ones of its own colour counting more. A second round votes with the result
    of the first. Specks smaller than half a patch go to their neighbours.

    Parameters
    ----------
    labels : (h, w) int32
        Label of each patch, 0 or more.
    guide : (H, W, 3) uint8
        The picture that the grid covers, at any size.
    rounds : int
        Rounds of votes; 0 only enlarges.

    Returns
    -------
    (max(H, h), max(W, w)) int32
        Label of each pixel.

    References
    ----------
    Kopf et al., "Joint Bilateral Upsampling" (2007), equation 3, with labels in place of values.
    Hosni et al., "Fast Cost-Volume Filtering" (2013): filter one cost per label, take the best.
    """
    h, w = labels.shape
    height, width = max(guide.shape[0], h), max(guide.shape[1], w)
    fine = _enlarge(labels, height, width)
    if rounds == 0:
        return fine
    rows, columns = nearest(height, guide.shape[0]), nearest(width, guide.shape[1])
    colours = rgb_to_lab(guide)[rows[:, None], columns]
    patch_y, patch_x = height / h, width / w
    falloff_y, falloff_x = _falloff(patch_y), _falloff(patch_x)
    step = max(1, int(min(patch_y, patch_x) / SAMPLES))
    distance = np.arange(int((4 * CONTRAST) ** 2))
    closeness = _weights(np.exp(-distance / (2 * CONTRAST**2)))
    votes = _every(step, height), _every(step, width)
    for _ in range(rounds):
        near = borders(fine, len(falloff_y), len(falloff_x))
        fine = compete(fine, colours, near, falloff_y, falloff_x, *votes, closeness)
    remove_specks(fine, max(4, int(patch_y * patch_x / 2)))
    return fine


def sample(labels: Labels, height: int, width: int) -> Labels:
    """Shrink a label image to at most (height, width), taking every n-th label."""
    h, w = min(height, labels.shape[0]), min(width, labels.shape[1])
    return _enlarge(labels, h, w)


def _enlarge(labels: Labels, height: int, width: int) -> Labels:
    return labels[nearest(height, labels.shape[0])[:, None], nearest(width, labels.shape[1])]


def _falloff(patch: float) -> IntArray:
    """Weights of a vote by its distance in pixels along one axis."""
    reach = max(2, round(REACH * patch))
    return _weights(np.exp(-0.5 * (np.arange(reach + 1) / (0.6 * reach)) ** 2))


def _every(step: int, length: int) -> IntArray:
    """Every `step`-th of some pixels, counted from both ends to the middle."""
    half = np.arange(step // 2, (length + 1) // 2, step)
    return np.unique(np.concatenate([half, length - 1 - half])).astype(np.int64)


def _weights(values: NDArray[np.float64]) -> IntArray:
    """From 0..1 to whole numbers: three of them multiplied and summed up stay below 2**63."""
    return np.rint(values * WEIGHT).astype(np.int64)


def cluster_runs(
    labels: Labels, up: IntArray, box: tuple[int, int, int, int], size: tuple[int, int]
) -> tuple[IntArray, IntArray]:
    """List the runs of all clusters of a partition, scaled to their place in an image.

    A cluster is in one piece on the grid, but borders that follow a picture can cut it in two: its
    mask is the largest 4-connected piece. So of two clusters one still holds the other, or they
    have nothing in common.

    Parameters
    ----------
    labels : (h, w) int32
        Cell of each pixel, numbered as in `Cells`.
    up : (K + 1,) int64
        The cluster around each cluster, as in `Cells`.
    box : (x, y, w, h)
        Where the label image lies, pixels of the image.
    size : (H, W)
        The image's size, pixels.

    Returns
    -------
    offsets : (K + 1,) int64
        Cluster k has rows ``offsets[k - 1]:offsets[k]`` of the runs.
    runs : (R, 2) int64
        Start and end (exclusive) of every run as column-major pixel indices.
    """
    x, y, wide, tall = box
    rows, columns, corner = (
        nearest(tall, labels.shape[0]),
        nearest(wide, labels.shape[1]),
        x * size[0] + y,
    )
    fill = np.zeros(len(up), dtype=np.int64)
    outline_runs(labels, up, rows, columns, corner, size[0], np.empty((0, 2), dtype=np.int64), fill)
    offsets = np.concatenate([[0], np.cumsum(fill[1:])]).astype(np.int64)
    runs = np.empty((offsets[-1], 2), dtype=np.int64)
    if len(runs):
        fill[1:] = offsets[:-1]
        outline_runs(labels, up, rows, columns, corner, size[0], runs, fill)
    offsets = keep_largest(offsets, runs, size[0])
    return offsets, runs[: offsets[-1]]
