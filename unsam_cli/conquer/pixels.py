"""From a partition of patches to one of pixels, and to the runs of all clusters at once.

Conquer assigns all pixels of a partition to clusters at once, so that neighbours share their
borders. Divide refines the soft map of one object at a time: see
:mod:`unsam_cli.refinement.guided`.

Only the finest partition is refined: its labels compete for the pixels near their borders. Coarser
clusters are unions of these labels, so masks nest exactly and leave no gaps, and the cost does not
depend on the number of masks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.conquer._piece_kernels import keep_largest
from unsam_cli.conquer._pixel_kernels import borders, outline_runs, remove_specks
from unsam_cli.conquer.votes import compete
from unsam_cli.sampling import nearest

IntArray = NDArray[np.int64]
Labels = NDArray[np.int32]
Floats = NDArray[np.float32]

REACH = 1.5
"""Half side of the window of votes, in patches. A border is off by about one patch at most."""
SAMPLES = 2
"""Votes along the side of a patch. More of them take longer and are not more accurate."""
CONTRAST = 8.0
"""Distance in CIELAB at which the weight of a vote falls to exp(-1/2)."""
ROUNDS = 2


def refine_labels(labels: Labels, colours: Floats, *, rounds: int = ROUNDS) -> Labels:
    """Upsample label images so that their borders follow the edges of a picture.

    Joint bilateral upsampling of labels: a pixel near a border takes the label with the most votes
    of pixels around it, and votes of near pixels and of similar colours weigh more. Later rounds
    vote with the result of the round before. Pieces smaller than half a patch are then given to
    their neighbours.

    Parameters
    ----------
    labels : (T, h, w) int32
        Label of each patch, 0 or more, in T partitions of the same patches.
    colours : (H, W, 3) float32
        The picture that the grid covers, at any size, in CIELAB.
    rounds : int
        Number of rounds of votes. With 0 the labels are only enlarged.

    Returns
    -------
    (T, max(H, h), max(W, w)) int32
        Label of each pixel. Each partition is refined as if it were alone, but all at once, since
        the weights of votes are the same for all.

    References
    ----------
    Kopf et al., "Joint Bilateral Upsampling" (2007), equation 3, with labels in place of values.
    Hosni et al., "Fast Cost-Volume Filtering" (2013): filter one cost per label, take the best.
    """
    _, h, w = labels.shape
    height, width = max(colours.shape[0], h), max(colours.shape[1], w)
    fine = np.stack([resize_labels(one, height, width) for one in labels])
    if rounds == 0:
        return fine
    if colours.shape[:2] != (height, width):
        rows, columns = nearest(height, colours.shape[0]), nearest(width, colours.shape[1])
        colours = colours[rows[:, None], columns]
    patch_y, patch_x = height / h, width / w
    step = max(1, int(min(patch_y, patch_x) / SAMPLES))
    falloff = _falloff((patch_y, patch_x))
    # After the first round few labels change, and half as many voters a side decide them as well.
    for sparse in range(1, rounds + 1):
        votes = _every(step * sparse, height), _every(step * sparse, width)
        near = np.stack([borders(one, *falloff.shape) for one in fine])
        fine = compete(fine, colours, near, falloff, *votes, CONTRAST)
    for one in fine:
        remove_specks(one, max(4, int(patch_y * patch_x / 2)))
    return fine


def sample(labels: Labels, height: int, width: int) -> Labels:
    """Shrink a label image (h, w) to at most (height, width), by nearest neighbour."""
    h, w = min(height, labels.shape[0]), min(width, labels.shape[1])
    return resize_labels(labels, h, w)


def resize_labels(labels: Labels, height: int, width: int) -> Labels:
    """Resize a label image (h, w) to (height, width), by nearest neighbour."""
    return labels.take(nearest(width, labels.shape[1]), axis=1)[nearest(height, labels.shape[0])]


def _falloff(patch: tuple[float, float]) -> NDArray[np.float64]:
    """Weight of a vote by its distance in rows and columns, for patches of this size in pixels."""
    reach = [max(2, round(REACH * side)) for side in patch]
    y, x = (np.exp(-0.5 * (np.arange(far + 1) / (0.6 * far)) ** 2) for far in reach)
    return np.outer(y, x)


def _every(step: int, length: int) -> IntArray:
    """Every `step`-th of `length` pixels, counted from both ends to the middle."""
    half = np.arange(min(step, length - 1) // 2, (length + 1) // 2, step)
    return np.unique(np.concatenate([half, length - 1 - half])).astype(np.int64)


def cluster_runs(
    labels: Labels, up: IntArray, box: tuple[int, int, int, int], size: tuple[int, int]
) -> tuple[IntArray, IntArray]:
    """List the runs of all clusters of a partition, scaled to their place in an image.

    A cluster is one piece on the grid, but borders that follow a picture can cut it in two. Its
    mask is the largest 4-connected piece. Two clusters still either nest or are disjoint.

    Parameters
    ----------
    labels : (h, w) int32
        Cell of each pixel, numbered as in :class:`~unsam_cli.conquer.levels.Partition`.
    up : (K + 1,) int64
        The cluster around each cluster, as in the same class.
    box : (x, y, w, h)
        Box of the label image in the image, in pixels.
    size : (H, W)
        Height and width of the image, in pixels.

    Returns
    -------
    offsets : (K + 1,) int64
        Cluster k has rows ``offsets[k - 1]:offsets[k]`` of the runs.
    runs : (R, 2) int64
        Start and end (exclusive) of every run, as column-major pixel indices.
    """
    x, y, wide, tall = box
    rows, columns = nearest(tall, labels.shape[0]), nearest(wide, labels.shape[1])
    starts = np.flatnonzero(np.diff(rows, prepend=-1, append=-1))
    where = rows[starts[:-1]], starts, columns, x * size[0] + y, size[0]
    labels = np.ascontiguousarray(labels.T)
    fill = np.zeros(len(up), dtype=np.int64)
    outline_runs(labels, up, *where, np.empty((0, 2), dtype=np.int64), fill)
    offsets = np.concatenate([[0], np.cumsum(fill[1:])]).astype(np.int64)
    runs = np.empty((offsets[-1], 2), dtype=np.int64)
    if len(runs):
        fill[1:] = offsets[:-1]
        outline_runs(labels, up, *where, runs, fill)
    offsets = keep_largest(offsets, runs, size[0])
    return offsets, runs[: offsets[-1]]
