"""Many masks of one image in one tensor, one bit per pixel.

500 masks of 1024 x 1024 pixels take 64 MiB, compared with half a GiB as bytes and 2 GiB as float32.
They are sent from the workers to the device in this form, and unpacked only at the points where
losses are computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class BitMasks:
    """n masks of one image.

    Attributes
    ----------
    bits : (n, W, ceil(H / 8)) uint8 tensor
        Columns of each mask. A byte holds eight rows, the uppermost in the highest bit.
    height : int
        H, in pixels.
    """

    bits: Tensor
    height: int

    @classmethod
    def pack(cls, masks: Iterable[NDArray[np.bool_]], size: tuple[int, int]) -> BitMasks:
        """Pack masks, each (H, W) bool, of an image of `size` (H, W)."""
        height, width = size
        packed = [np.packbits(mask.T, axis=1) for mask in masks]
        empty = np.empty((0, width, -(-height // 8)), dtype=np.uint8)
        return cls(torch.from_numpy(np.stack(packed) if packed else empty), height)

    def unpack(self) -> Tensor:
        """Return the masks, (n, H, W) bool."""
        shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=self.bits.device)
        columns = ((self.bits[..., None] >> shifts) & 1).flatten(2)[..., : self.height]
        return columns.transpose(1, 2).bool()

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width (H, W), in pixels."""
        return self.height, self.bits.shape[1]

    def take(self, which: Tensor) -> BitMasks:
        """Return the masks at indices `which` (k,) int64, or where `which` (n,) bool is True."""
        return BitMasks(self.bits[which], self.height)

    def present(self) -> Tensor:
        """Return which masks are not empty, (n,) bool."""
        return self.bits.flatten(1).any(dim=1).bool()

    def areas(self) -> Tensor:
        """Return the area of every mask in pixels, (n,) int64."""
        return _ones(self.bits).sum((1, 2))

    def areas_and_centroids(self) -> tuple[Tensor, Tensor]:
        """Return the areas (n,) int64 and the centroids (n, 2) float32, x and y in pixels.

        Pixel centres are at 0.5, 1.5, ... No mask may be empty.
        """
        bytes_ = _ones(self.bits)
        columns, rows = bytes_.sum(2), bytes_.sum(1).float()
        areas = columns.sum(1)
        # Index of a row in its byte, bit by bit: rows 1, 3, 5 and 7, then 2, 3, 6 and 7...
        inside = sum(
            2**i * _ones(self.bits & half).sum((1, 2)) for i, half in enumerate((0x55, 0x33, 0x0F))
        )
        x, y = (torch.arange(n, device=rows.device).float() for n in bytes_.shape[1:])
        places = torch.stack((columns.float() @ x, rows @ (8 * y) + inside), 1)
        return areas, places / areas[:, None] + 0.5

    def boxes(self) -> Tensor:
        """Return the box of every mask, (n, 4) float32, as fractions of the image.

        These are x and y of its centre, its width and its height. No mask may be empty.
        """
        columns = self.bits.bool().any(dim=2)
        rows = torch.stack([(self.bits >> k & 1).bool().any(dim=1) for k in range(7, -1, -1)], 2)
        height, width = self.size
        (left, right), (top, bottom) = _ends(columns), _ends(rows.flatten(1))
        box = torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], 1)
        return box / box.new_tensor([width, height, width, height])

    def to(self, device: str) -> BitMasks:
        """Move to a device."""
        return BitMasks(self.bits.to(device, non_blocking=True), self.height)

    def pin_memory(self) -> BitMasks:
        """Copy to page-locked memory, from which a GPU copies fastest."""
        return BitMasks(self.bits.pin_memory(), self.height)

    def at(self, points: Tensor) -> Tensor:
        """Interpolate the masks bilinearly at points; masks are zero outside the image.

        Parameters
        ----------
        points : (n, P, 2) or (1, P, 2) float tensor
            x and y as fractions of the image: 0 and 1 are the outer borders of the outer pixels.
            One set per mask, or one for all masks.

        Returns
        -------
        (n, P) float32 tensor
            Values from 0 to 1, as from ``grid_sample`` with ``align_corners=False``.
        """
        height, width = self.size
        points = points.float()
        columns = _neighbours(points[..., 0], width)
        rows = _neighbours(points[..., 1], height)
        flat, stride = self.bits.flatten(1), self.bits.shape[2]
        total = torch.zeros((), device=points.device)
        for y, along_y in rows:
            byte, shift = y >> 3, 7 - (y & 7).to(torch.uint8)
            for x, along_x in columns:
                index = x * stride + byte
                packed = flat[:, index[0]] if len(index) == 1 else flat.gather(1, index)
                total = total + (along_x * along_y) * ((packed >> shift) & 1)
        return total


def _ones(bits: Tensor) -> Tensor:
    """Count the bits of every byte."""
    bits = bits - (bits >> 1 & 0x55)
    bits = (bits & 0x33) + (bits >> 2 & 0x33)
    return (bits + (bits >> 4)) & 0x0F


def _ends(filled: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first filled place of each row (n, N), and the one after the last."""
    found = filled.int()
    return found.argmax(dim=1), found.shape[1] - found.flip(1).argmax(dim=1)


def _neighbours(place: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """Return the two pixels around positions along an axis, and their weights; 0 outside."""
    place = place * size - 0.5
    low = place.floor()
    above = place - low
    found = []
    for index, weight in ((low, 1 - above), (low + 1, above)):
        inside = (index >= 0) & (index < size)
        found.append((index.clamp(0, size - 1).long(), weight * inside))
    return found
