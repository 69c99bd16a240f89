"""Simulated clicks on objects, and the number of clicks (NoC), for any promptable model."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate, distance_transform_edt

from unsam_cli.evaluation.settings import MAX_CLICKS
from unsam_cli.rle import Rle, boxes, decode_window

NOC_LEVELS = (0.8, 0.9)
"""IoU thresholds of the number of clicks, ascending; clicking ends at the last one."""
_SOFTNESS = 0.35  # softness of the approximate distance, in pixels


class Promptable(Protocol):
    """A model that encodes an image and answers clicks on it with a mask."""

    def predict(self, points: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Segment the clicked object.

        Parameters
        ----------
        points : (n, 2) int64
            x, y of all clicks so far, in pixels.
        labels : (n,) int64
            1 for a click on the object, 0 for one on the background.

        Returns
        -------
        (H, W) bool
            The predicted mask.
        """
        ...


def centre_click(rle: Rle, *, approximate: bool = False) -> tuple[int, int]:
    """Choose the pixel of a mask that is farthest from its border.

    Parameters
    ----------
    rle : Rle
        The mask, which must not be empty.
    approximate : bool
        Use the distance of :func:`approximate_distance`, as in UnSAM's evaluation.

    Returns
    -------
    x, y : int
        Coordinates of the first such pixel in reading order. The image border counts as a border.

    Raises
    ------
    ValueError
        The mask is empty.
    """
    x, y, w, h = boxes([rle])[0].tolist()
    if not w:
        raise ValueError("an empty mask has no pixel to click")
    depth = _depth_in_box(decode_window(rle, x, y, w, h), approximate=approximate)
    row, column = divmod(int(depth.argmax()), w)
    return x + column, y + row


def next_click(
    target: NDArray[np.bool_],
    mask: NDArray[np.bool_],
    clicked: NDArray[np.bool_] | None = None,
) -> tuple[int, int, int] | None:
    """Choose where a user would click next: the centre of the largest error.

    Errors are the missing pixels and the surplus pixels of the mask. The click is on the pixel that
    is farthest from the border of its error region. In a tie missing pixels have priority, then the
    first pixel in reading order.

    Parameters
    ----------
    target, mask : (H, W) bool
        The correct mask, and the current mask.
    clicked : (H, W) bool, optional
        Pixels of earlier clicks, which are not clicked again.

    Returns
    -------
    (x, y, label) or None
        Coordinates in pixels; label 1 adds, 0 removes. None if no pixel is left to click.

    References
    ----------
    Sofiiuk, Petrov and Konushin, Reviving Iterative Training with Mask Guidance for Interactive
    Segmentation, 2021, section 3.3. Here distances are exact, and the image border is a border.
    """
    missing, excess = _depth(target & ~mask), _depth(mask & ~target)
    if clicked is not None:
        missing, excess = np.where(clicked, 0, missing), np.where(clicked, 0, excess)
    label = int(missing.max() >= excess.max())
    depth = missing if label else excess
    if depth.max() == 0:
        return None
    y, x = divmod(int(depth.argmax()), depth.shape[1])
    return x, y, label


def _depth(region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of every pixel of a region to the nearest pixel outside of it; 0 outside."""
    depth = np.zeros(region.shape)
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    if len(rows):
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        depth[window] = _depth_in_box(region[window])
    return depth


def _depth_in_box(inside: NDArray[np.bool_], *, approximate: bool = False) -> NDArray[np.floating]:
    """Distance to the nearest pixel outside of a region, for the box of the region.

    A ring of pixels around the box suffices, since no pixel farther outside is nearer.
    """
    measure = approximate_distance if approximate else distance_transform_edt
    return np.ascontiguousarray(measure(np.pad(inside, 1))[1:-1, 1:-1])


def approximate_distance(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance to the nearest pixel outside, by repeated convolution.

    Parameters
    ----------
    inside : (H, W) bool
        The region.

    Returns
    -------
    (H, W) float32
        Distance in pixels; 0 outside.

    References
    ----------
    Pham et al., Differentiable Distance Transform via Convolution, 2021; the kernel of 3 x 3 and
    the constant are those of kornia's ``distance_transform``. It is computed in float32; with half
    precision, as published, the choice among ties is random.
    """
    steps = np.hypot(*np.mgrid[-1:2, -1:2])
    kernel = np.exp(-steps / _SOFTNESS).astype(np.float32)
    reached = (~inside).astype(np.float32)
    distance = np.zeros(inside.shape, dtype=np.float32)
    for ring in range(max(inside.shape)):
        near = correlate(reached, kernel, mode="nearest")
        with np.errstate(divide="ignore"):
            step = -_SOFTNESS * np.log(near)
        step[np.isinf(step)] = 0
        new = step > 0
        if not new.any():
            break
        distance[new] += ring + step[new]
        reached[new] = 1
    return distance


def simulate_clicks(
    model: Promptable, target: NDArray[np.bool_], *, max_clicks: int = MAX_CLICKS, stop: float = 1.0
) -> NDArray[np.float64]:
    """Simulate clicks until the mask is good enough.

    Parameters
    ----------
    model : Promptable
        The model, which has already encoded the image.
    target : (H, W) bool
        The correct mask, which must not be empty.
    max_clicks : int
        Largest number of clicks.
    stop : float
        IoU at which clicking ends.

    Returns
    -------
    (n,) float64
        IoU after each click.
    """
    mask = np.zeros_like(target)
    clicked = np.zeros_like(target)
    points: list[tuple[int, int]] = []
    labels: list[int] = []
    ious: list[float] = []
    while len(ious) < max_clicks and (not ious or ious[-1] < stop):
        click = next_click(target, mask, clicked)
        if click is None:
            break
        x, y, label = click
        clicked[y, x] = True
        points.append((x, y))
        labels.append(label)
        mask = np.asarray(model.predict(np.array(points), np.array(labels)), dtype=bool)
        ious.append(mask_iou(mask, target))
    return np.array(ious)


def clicks_needed(
    ious: NDArray[np.float64], threshold: float, *, max_clicks: int = MAX_CLICKS
) -> int:
    """Count the clicks until the IoU reaches a threshold; `max_clicks` if it never does."""
    reached = np.flatnonzero(ious >= threshold)
    return int(reached[0]) + 1 if len(reached) else max_clicks


def mask_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union; 0 for two empty masks."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0
