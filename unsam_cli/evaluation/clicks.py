"""Simulated clicks until a mask is good: NoC, the number of clicks, for any promptable model."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

MAX_CLICKS = 20


class Promptable(Protocol):
    """A model that encodes an image and answers clicks on it with a mask."""

    def predict(self, points: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Segment the clicked object.

        Parameters
        ----------
        points : (n, 2) int64
            x, y of all clicks so far, in pixels.
        labels : (n,) int64
            1: belongs to it; 0: does not.

        Returns
        -------
        (H, W) bool
            The mask.
        """
        ...


def next_click(
    target: NDArray[np.bool_],
    mask: NDArray[np.bool_],
    clicked: NDArray[np.bool_] | None = None,
) -> tuple[int, int, int] | None:
    """Choose where a user would click next: the middle of the largest error.

    That is the pixel farthest from the border of what is missing, or of what is too much, whichever
    is farther; the first one in reading order among equals.

    Parameters
    ----------
    target, mask : (H, W) bool
        What is wanted, and what there is.
    clicked : (H, W) bool, optional
        Pixels clicked before, which are not clicked again.

    Returns
    -------
    (x, y, label) or None
        Pixels; label 1 adds, 0 removes. None if there is nothing left to click.

    References
    ----------
    Sofiiuk, Petrov and Konushin, Reviving Iterative Training with Mask Guidance for Interactive
    Segmentation, 2021, section 3.3; distances are exact, and the image's border is a border.
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
        # The nearest pixel outside is never beyond the ring around the region's box.
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        depth[window] = distance_transform_edt(np.pad(region[window], 1))[1:-1, 1:-1]
    return depth


def simulate_clicks(
    model: Promptable, target: NDArray[np.bool_], *, max_clicks: int = MAX_CLICKS, stop: float = 1.0
) -> NDArray[np.float64]:
    """Click until the mask is good enough.

    Parameters
    ----------
    model : Promptable
        It looks at the image.
    target : (H, W) bool
        The mask wanted; not empty.
    max_clicks : int
        Most clicks.
    stop : float
        IoU to stop at.

    Returns
    -------
    (n,) float64
        IoU after every click.
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
