"""Assign masks to cells, and choose the points at which both are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unsam_cli.models.cells import RANGES, STRIDES, range_of
from unsam_cli.training.bitmasks import BitMasks

NOBODY = -1
_NEAR = 0.25  # in sizes of a mask: distance from its centroid within which it is assigned to cells
_UNSURE = 0.12  # random change of the log of sizes, so that neighbouring ranges learn to agree


@dataclass(frozen=True)
class Geometry:
    """Areas and positions of the n masks of an image, in pixels.

    Attributes
    ----------
    areas : (n,) float32 tensor
        Numbers of pixels.
    boxes : (n, 4) float32 tensor
        x0, y0, x1, y1: the left, top, right and bottom borders.
    centroids : (n, 2) float32 tensor
        x and y of the centroids.
    """

    areas: Tensor
    boxes: Tensor
    centroids: Tensor

    @classmethod
    def of(cls, masks: BitMasks) -> Geometry:
        """Measure masks, none of which may be empty."""
        lines = masks.bits
        while lines.shape[1] > 1:  # rows of any column, in halves: there is no sum of bits
            half = lines.shape[1] // 2
            joined = lines[:, :half] | lines[:, half : 2 * half]
            lines = torch.cat((joined, lines[:, 2 * half :]), 1) if lines.shape[1] % 2 else joined
        left, right = _ends(masks.bits.amax(2) > 0)
        top, bottom = _ends(BitMasks(lines, masks.height).unpack()[:, :, 0])
        boxes = torch.stack((left, top, right, bottom), 1)
        areas, centroids = masks.areas_and_centroids()
        return cls(areas.float(), boxes, centroids)

    def take(self, which: Tensor) -> Geometry:
        """Return the geometry of the masks at the indices `which`, (k,) int64."""
        return Geometry(self.areas[which], self.boxes[which], self.centroids[which])


def _ends(line: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first True of lines (n, L) bool, and the last plus 1, each (n,) float32."""
    at = torch.arange(line.shape[1], device=line.device)
    first = torch.where(line, at, line.shape[1]).amin(1)
    last = torch.where(line, at, -1).amax(1)
    return first.float(), last.float() + 1


def assign_cells(geometry: Geometry, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """Assign each mask to the cells near its centroid, in the range of its size.

    Parameters
    ----------
    geometry : Geometry
        Geometry of n masks, the best first; if a cell is near several, it gets the first of them.
    size : (int, int)
        Height and width of the image, in pixels.
    rng : numpy.random.Generator
        Changes sizes at random by up to 12 %.

    Returns
    -------
    (T,) int64 tensor on the CPU
        Index of the mask of every cell, in the order of `Cells`, or `NOBODY`.

    References
    ----------
    Tian et al., "FCOS", ICCV 2019; Wang et al., "SOLOv2", NeurIPS 2020.
    """
    grids = [
        np.full((size[0] // stride, size[1] // stride), NOBODY, dtype=np.int64)
        for stride in STRIDES
        for _ in range(RANGES)
    ]
    sizes = geometry.areas.sqrt().cpu().double().numpy()
    middles = geometry.centroids.cpu().double().numpy()
    unsure = sizes * np.exp(rng.uniform(-_UNSURE, _UNSURE, len(sizes)))
    ranges = range_of(torch.from_numpy(unsure)).tolist()
    for i in reversed(range(len(sizes))):
        grid, stride = grids[ranges[i]], STRIDES[ranges[i] // RANGES]
        x, y = middles[i]
        rows = _near(y, _NEAR * sizes[i], stride, grid.shape[0])
        columns = _near(x, _NEAR * sizes[i], stride, grid.shape[1])
        grid[rows, columns] = i
    return torch.from_numpy(np.concatenate([grid.ravel() for grid in grids]))


def _near(middle: float, reach: float, stride: int, length: int) -> slice:
    """Return the cells whose centre is at most `reach` from `middle`, or the one that has it."""
    first = int(np.ceil((middle - reach) / stride - 0.5))
    last = int(np.floor((middle + reach) / stride - 0.5))
    if last < first:
        first = last = int(middle / stride)
    return slice(max(first, 0), min(last, length - 1) + 1)


def points_around(
    boxes: Tensor, grid: tuple[int, int], stride: int, rng: np.random.Generator, count: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Choose rows and columns of the feature map in boxes twice as large as those of masks.

    Parameters
    ----------
    boxes : (n, 4) float tensor
        Boxes of masks, x0, y0, x1, y1, in pixels of the image.
    grid : (int, int)
        Rows and columns of the feature map.
    stride : int
        Stride of the feature map, in pixels of the image.
    rng : numpy.random.Generator
        Shifts the rows and columns that are chosen in boxes with more than `count`.
    count : int
        Maximum number of rows, and of columns, per box.

    Returns
    -------
    rows, columns : (n, count) int64 tensors
        Indices of the chosen rows and columns.
    counted : (n, count, count) bool tensor
        Whether a chosen pixel lies in the box and in the image.
    shares : (n,) float tensor
        Number of pixels of the box inside the image that each counted pixel stands for.
    """
    chosen, valid, shares = [], [], torch.ones(len(boxes), device=boxes.device)
    steps = torch.arange(count, device=boxes.device)
    for axis in (1, 0):
        low, high = boxes[:, axis] / stride, boxes[:, axis + 2] / stride
        room = (high - low) / 2 + 2
        first = (low - room).floor().clamp(min=0)
        last = (high + room).ceil().clamp(max=grid[1 - axis])
        extent = (last - first)[:, None]
        shift = torch.from_numpy(rng.random((len(boxes), 1), dtype=np.float32)).to(boxes.device)
        spread = ((steps + shift) * extent / count).floor()
        at = torch.where(extent > count, spread, steps)
        valid.append(at < extent)
        shares = shares * (extent[:, 0] / count).clamp(min=1)
        chosen.append((first[:, None] + at).long().clamp(max=grid[1 - axis] - 1))
    return chosen[0], chosen[1], valid[0][:, :, None] & valid[1][:, None, :], shares
