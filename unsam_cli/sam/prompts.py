"""Prompts of a promptable model: points, boxes, masks and granularity."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prompts:
    """P prompts for one image, in pixels of the network's input (`Frame.inwards`).

    Parameters
    ----------
    points : (P, K, 2) float32 tensor, optional
        x, y of K points per prompt.
    labels : (P, K) int64 tensor, optional
        Meaning of each point: 1 belongs to the mask, 0 does not, -1 is padding and ignored.
    boxes : (P, 4) float32 tensor, optional
        x0, y0, x1, y1 of a box per prompt.
    masks : (P, 1, h, w) float32 tensor, optional
        Mask logits of an earlier answer, see `MaskLogits`.
    granularity : (P,) float32 tensor, optional
        Requested granularity, from 0.1 (finest) to 1 (coarsest).

    Raises
    ------
    ValueError
        There are no points, boxes or masks, points or labels are missing, or the numbers of prompts
        differ.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None
    granularity: Tensor | None = None

    def __post_init__(self) -> None:
        given = self._given()
        if not given.keys() & {"points", "boxes", "masks"}:
            raise ValueError("a prompt needs points, a box or a mask")
        if (self.points is None) != (self.labels is None):
            raise ValueError("points need labels, and labels points")
        if len({len(tensor) for tensor in given.values()}) > 1:
            counts = ", ".join(f"{len(tensor)} {name}" for name, tensor in given.items())
            raise ValueError(f"the numbers of prompts differ: {counts}")

    def __len__(self) -> int:
        return len(next(iter(self._given().values())))

    def __getitem__(self, rows: slice) -> Prompts:
        """Return the prompts of a slice."""
        return Prompts(**{name: tensor[rows] for name, tensor in self._given().items()})

    def to(self, device: str | torch.device) -> Prompts:
        """Move all tensors to a device."""
        return Prompts(**{name: tensor.to(device) for name, tensor in self._given().items()})

    def _given(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
