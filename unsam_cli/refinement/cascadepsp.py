"""Refine masks with CascadePSP: a network that sees a crop around each mask.

The network and its weights are those of the package `segmentation-refinement`. It was trained with
labels, so its results are no longer label-free. What is here is how crops are made, batched and put
back: its fast mode, the global step alone.

References
----------
H. K. Cheng et al., "CascadePSP: Toward Class-Agnostic and Very High-Resolution Segmentation via
Global and Local Refinement", CVPR 2020.
X. Wang et al., "Segment Anything without Supervision", NeurIPS 2024: the crops.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from unsam_cli.io.windows import Pixels, read
from unsam_cli.refinement.masks import MapFunctor
from unsam_cli.refinement.settings import RefineSettings
from unsam_cli.rle import Rle, RunTable, decode_window, encode_window

ABOVE = 128
"""A pixel belongs to the refined mask if its grey level, 0 to 255, is higher: the paper's rule."""
_MULTIPLE = 8  # the network halves sides three times
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as it was trained


@dataclass(frozen=True, eq=False)
class Crop:
    """A mask with its surroundings, an input of the network.

    Attributes
    ----------
    picture : (H, W, 3) uint8
        The whole photograph.
    mask : Rle
        The whole mask.
    box : (x, y, w, h)
        The crop, in pixels.
    side : int
        Longer side of the crop at the size that the network works on, in pixels.
    """

    picture: Pixels
    mask: Rle
    box: tuple[int, int, int, int]
    side: int

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the input; crops where they are equal may share a batch.

        Both are multiples of 8. As in the package, if one side is none, the other also grows.
        """
        longest = max(self.box[2:])
        h, w = (
            side if longest == self.side else int(side * (self.side / longest))
            for side in (self.box[3], self.box[2])
        )
        if h % _MULTIPLE == w % _MULTIPLE == 0:
            return h, w
        return (h // _MULTIPLE + 1) * _MULTIPLE, (w // _MULTIPLE + 1) * _MULTIPLE


class CascadePsp:
    """The network, and how masks become its inputs and its outputs become masks.

    Several threads may call an instance; the network computes for one of them at a time.

    Parameters
    ----------
    network : Module
        Called with images (b, 3, h, w) and masks (b, 1, h, w) of -1 and 1; returns a dict whose
        ``pred_224`` is (b, 1, h, w), the probability of the refined masks.
    settings : RefineSettings
        Size and order of colours of the crops.
    device : str
        Device of the network, as torch names it.
    batch_size : int
        Crops in a batch. On a CPU each crop is computed alone, since batches gain nothing there.
    """

    def __init__(
        self, network: nn.Module, settings: RefineSettings, device: str = "cpu", batch_size: int = 1
    ) -> None:
        self.network = network.eval().to(device)
        self.settings = settings
        self.device = torch.device(device)
        self.batch_size = 1 if self.device.type == "cpu" else batch_size
        self._lock = threading.Lock()

    def crops(self, picture: Pixels, masks: RunTable) -> list[Crop]:
        """Plan the crops of the masks of a picture (H, W, 3) uint8."""
        return [self._crop(picture, masks, i) for i in range(len(masks))]

    def _crop(self, picture: Pixels, masks: RunTable, index: int) -> Crop:
        x, y, w, h = masks.boxes[index].tolist()
        half = self.settings.crop * max(w, h) / 2
        height, width = masks.size
        left, top = max(int(x + w / 2 - half), 0), max(int(y + h / 2 - half), 0)
        right, bottom = min(int(x + w / 2 + half), width), min(int(y + h / 2 + half), height)
        box = left, top, right - left, bottom - top
        side = min(max(max(box[2:]), self.settings.min_side), self.settings.max_side)
        return Crop(picture, masks.rle(index), box, side)

    def forward(self, crops: Sequence[Crop]) -> list[NDArray[np.uint8]]:
        """Compute crops whose inputs have one size.

        Returns
        -------
        list of (h, w) uint8
            Probability of the refined mask, 0 to 255, at the size of each crop.
        """
        prepared = [self._prepare(crop) for crop in crops]
        h, w = crops[0].padded

        def batch(which: int, value: float) -> Tensor:
            inputs = (parts[which] for parts in prepared)
            return torch.cat(
                [pad(t, (0, w - t.shape[3], 0, h - t.shape[2]), value=value) for t in inputs]
            )

        with self._lock, torch.inference_mode():
            found = self.network(batch(0, 0.0), batch(1, -1.0))["pred_224"]
            sizes = [parts[1].shape[2:] for parts in prepared]
            return [
                _restored(found[i : i + 1, :, :rows, :columns], crops[i])
                for i, (rows, columns) in enumerate(sizes)
            ]

    def _prepare(self, crop: Crop) -> tuple[Tensor, Tensor]:
        """Return the image (1, 3, h, w) and the mask (1, 1, h, w) at the size of the network."""
        x, y, w, h = crop.box
        order = slice(None, None, -1 if self.settings.colours == "bgr" else 1)
        seen = read(crop.picture, crop.box)[..., order]
        pixels = np.ascontiguousarray(seen.transpose(2, 0, 1))
        inside = np.ascontiguousarray(decode_window(crop.mask, x, y, w, h))
        image = torch.from_numpy(pixels)[None].to(self.device).float() / 255
        mean, std = (torch.tensor(v, device=self.device).view(3, 1, 1) for v in (_MEAN, _STD))
        mask = torch.from_numpy(inside)[None, None].to(self.device).float() * 2 - 1
        image, ratio = (image - mean) / std, crop.side / max(w, h)
        if ratio > 1:
            return (
                interpolate(image, scale_factor=ratio, mode="bicubic", align_corners=False),
                interpolate(mask, scale_factor=ratio, mode="bilinear", align_corners=False),
            )
        if ratio < 1:
            return (
                interpolate(image, scale_factor=ratio, mode="area"),
                interpolate(mask, scale_factor=ratio, mode="area"),
            )
        return image, mask

    def __call__(self, picture: Pixels, masks: RunTable, *, mapper: MapFunctor = map) -> list[Rle]:
        """Refine the masks of a picture (H, W, 3) uint8; crops of equal size share batches."""
        crops = self.crops(picture, masks)
        found: dict[int, Rle] = {}
        groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for i, crop in enumerate(crops):
            groups[crop.padded].append(i)
        for group in groups.values():
            for start in range(0, len(group), self.batch_size):
                chosen = group[start : start + self.batch_size]
                levels = self.forward([crops[i] for i in chosen])
                found.update((i, cut(crops[i], g)) for i, g in zip(chosen, levels, strict=True))
        return [found[i] for i in range(len(crops))]


def cut(crop: Crop, levels: NDArray[np.uint8]) -> Rle:
    """Return the refined mask of a crop from its grey levels (h, w) uint8."""
    height, width = crop.picture.shape[:2]
    return encode_window(levels > ABOVE, crop.box[0], crop.box[1], (height, width))


def _restored(found: Tensor, crop: Crop) -> NDArray[np.uint8]:
    """Resize an output (1, 1, h, w) to the size of its crop, as grey levels."""
    _, _, w, h = crop.box
    if crop.side > max(w, h):
        found = interpolate(found, size=(h, w), mode="area")
    elif crop.side < max(w, h):
        found = interpolate(found, size=(h, w), mode="bilinear", align_corners=True)
    levels: NDArray[np.uint8] = (found[0, 0] * 255).to(torch.uint8).cpu().numpy()
    return levels
