"""Find all masks of an image by prompting with a grid of points.

The masks are those of segment-anything's generator, in less time and memory: the decoder is folded,
masks are computed only for prompts whose predicted score is high enough, and they are enlarged,
measured and encoded in one pass, without an array of the image's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import batched_nms

from unsam_cli.backbones.soundness import check_output
from unsam_cli.io.windows import Pixels, part
from unsam_cli.rle import Rle, RunTable, enlarge, suppress, tidy
from unsam_cli.sam.crops import Crop, crops, grid
from unsam_cli.sam.promptable import Promptable
from unsam_cli.sam.prompts import Prompts
from unsam_cli.sam.settings import AutomaticConfig

_EDGE = 20.0  # pixels; a mask that ends so near the edge of a crop counts as cut off


@dataclass(frozen=True)
class AutomaticMasks:
    """The n masks of one image, best first within a crop.

    Attributes
    ----------
    rles : list of Rle
        Masks of the image's size.
    boxes : (n, 4) int64
        x0, y0, x1, y1 of each mask in pixels of the image, x1 and y1 inclusive, as in SAM.
    scores, stability : (n,) float32
        Predicted IoU of each mask, and IoU of the masks at a threshold above and below zero.
    points : (n, 2) float64
        x, y of the point that prompted each mask, in pixels of the image.
    crops : (n, 4) int64
        x0, y0, x1, y1 of the crop that each mask was found in, in pixels; x1 and y1 exclusive.
    """

    rles: list[Rle]
    boxes: NDArray[np.int64]
    scores: NDArray[np.float32]
    stability: NDArray[np.float32]
    points: NDArray[np.float64]
    crops: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rles)

    def take(self, rows: NDArray[np.int64]) -> AutomaticMasks:
        """Return the masks at the indices `rows`, in their order."""
        return AutomaticMasks(
            [self.rles[row] for row in rows.tolist()],
            self.boxes[rows],
            self.scores[rows],
            self.stability[rows],
            self.points[rows],
            self.crops[rows],
        )


@torch.inference_mode()
def automatic_masks(
    model: Promptable,
    image: Pixels,
    config: AutomaticConfig | None = None,
    *,
    granularity: float | None = None,
) -> AutomaticMasks:
    """Find the masks of an image.

    Parameters
    ----------
    model : Promptable
        In evaluation mode.
    image : (H, W, 3) uint8
        RGB.
    config : AutomaticConfig, optional
        Grid of points and thresholds.
    granularity : float, optional
        Granularity of the masks, 0.1 (finest) to 1 (coarsest). With it, the model gives one mask
        per point instead of several.

    Raises
    ------
    UsageError
        `granularity` is given, and the model does not support it.
    CheckpointError
        The network computes numbers that are not finite.

    References
    ----------
    Kirillov et al., Segment Anything, 2023, appendix B.
    """
    config = config or AutomaticConfig()
    found = [
        _Search(model, image, crop, config, granularity).masks()
        for crop in crops((image.shape[0], image.shape[1]), config)
        if min(crop.size) > 0  # tiny images have empty crops
    ]
    masks = joined(found)
    if len(found) > 1:  # the smaller crop wins
        sides = (masks.crops[:, 2:] - masks.crops[:, :2]).astype(np.float32)
        masks = suppressed(masks, 1 / sides.prod(axis=1), config.crop_nms_iou, config)
    return _tidied(masks, config) if config.min_region else masks


class _Search:
    """The search for masks in one crop."""

    def __init__(
        self,
        model: Promptable,
        image: Pixels,
        crop: Crop,
        config: AutomaticConfig,
        granularity: float | None,
    ) -> None:
        self.model, self.crop, self.config, self.granularity = model, crop, config, granularity
        self.size = (image.shape[0], image.shape[1])
        self.frame = model.frame(crop.size)
        self.axes = model.axes(self.frame)
        window = part(image, (crop.x0, crop.y0, *crop.size[::-1]))
        self.embedding = model.embed(self.frame.pixels(window).to(self.model.device)[None])

    def masks(self) -> AutomaticMasks:
        """Return the masks in the crop, without duplicates."""
        points = grid(self.crop, self.config)
        batch = self.model.batch
        starts = range(0, len(points), batch)
        masks = joined([self._answers(points[at : at + batch]) for at in starts])
        return suppressed(masks, masks.scores, self.config.nms_iou, self.config)

    def _answers(self, points: NDArray[np.float64]) -> AutomaticMasks:
        """Return the masks at points (n, 2), x and y in the crop, whose scores are high enough."""
        inside = self.frame.inwards(torch.from_numpy(points)).to(self.model.device)[:, None]
        labels = torch.ones(inside.shape[:2], dtype=torch.int64, device=self.model.device)
        fineness = None
        if self.granularity is not None:
            fineness = torch.full((len(points),), self.granularity, device=self.model.device)
        prompts = Prompts(inside, labels, granularity=fineness)
        decoding = self.model.attend(self.embedding, prompts, fold=True)
        scores = decoding.scores
        good = scores > self.config.min_score if self.config.min_score > 0 else scores == scores
        asked = good.any(dim=1).nonzero()[:, 0]
        check_output(scores.float().cpu().numpy(), self.model.dtype)
        if not len(asked):
            return joined([])
        logits = decoding.logits(asked)[good[asked]].float().cpu().numpy()
        check_output(logits, self.model.dtype)
        return self._cut(logits, scores[good], points[good.nonzero()[:, 0].cpu().numpy()])

    def _cut(
        self, logits: NDArray[np.float32], scores: torch.Tensor, points: NDArray[np.float64]
    ) -> AutomaticMasks:
        """Enlarge logits (n, h, w) and keep the masks that are stable and not cut off."""
        crop, config, (height, _) = self.crop, self.config, self.size
        cut = enlarge(
            logits,
            *self.axes,
            offset=config.stability_offset,
            origin=crop.x0 * height + crop.y0,
            stride=height,
        )
        with np.errstate(invalid="ignore"):  # 0 / 0 of nothing is not stable
            stability = np.divide(cut.inner, cut.outer, dtype=np.float32)
        table = RunTable.from_runs(cut.offsets, cut.runs, self.size)
        boxes = corners(table)
        kept = ~_cut_off(boxes, crop, self.size)
        if config.min_stability > 0:
            kept &= stability >= np.float32(config.min_stability)
        rows = np.flatnonzero(kept)
        return AutomaticMasks(
            table.take(rows).to_rles(),
            boxes[rows],
            scores.float().cpu().numpy()[rows],
            stability[rows],
            points[rows] + np.array([crop.x0, crop.y0]),
            np.tile(np.array(crop.box), (len(rows), 1)),
        )


def joined(parts: Sequence[AutomaticMasks]) -> AutomaticMasks:
    """Return the masks of all parts."""
    nothing = AutomaticMasks(
        [],
        np.empty((0, 4), np.int64),
        np.empty(0, np.float32),
        np.empty(0, np.float32),
        np.empty((0, 2)),
        np.empty((0, 4), np.int64),
    )
    parts = [nothing, *parts]
    return AutomaticMasks(
        [rle for part in parts for rle in part.rles],
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.stability for part in parts]),
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.crops for part in parts]),
    )


def corners(table: RunTable) -> NDArray[np.int64]:
    """Return boxes (n, 4), x0, y0, x1, y1, all inclusive; zeros for an empty mask."""
    x, y, w, h = table.boxes.T
    return np.stack((x, y, np.maximum(x + w - 1, 0), np.maximum(y + h - 1, 0)), axis=1)


def _cut_off(boxes: NDArray[np.int64], crop: Crop, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return whether each box ends near an edge of the crop but not near that of the image."""
    # An empty mask counts as a dot in the crop's corner.
    empty = ~boxes.any(axis=1, keepdims=True)
    boxes = np.where(empty, np.tile(np.array(crop.box)[[0, 1]], 2), boxes)
    near_crop = np.abs(boxes - np.array(crop.box)) <= _EDGE
    near_image = np.abs(boxes - np.array([0, 0, size[1], size[0]])) <= _EDGE
    cut_off: NDArray[np.bool_] = (near_crop & ~near_image).any(axis=1)
    return cut_off


def suppressed(
    masks: AutomaticMasks, ranks: NDArray[np.float32], threshold: float, config: AutomaticConfig
) -> AutomaticMasks:
    """Drop masks that overlap one of higher rank, by mask or by box; best first."""
    if config.nms == "mask" and len(masks):
        order = np.argsort(-ranks, kind="stable")
        kept = suppress(RunTable.from_rles(masks.rles), order, threshold)
        return masks.take(order[kept[order]])
    boxes = torch.from_numpy(masks.boxes).float()
    same = torch.zeros(len(boxes), dtype=torch.int64)
    found = batched_nms(boxes, torch.from_numpy(ranks), same, threshold)
    return masks.take(found.numpy())


def _tidied(masks: AutomaticMasks, config: AutomaticConfig) -> AutomaticMasks:
    """Fill holes and remove islands; drop changed masks that became duplicates of others."""
    rles = [tidy(rle, config.min_region) for rle in masks.rles]
    same = np.array([new is old for new, old in zip(rles, masks.rles, strict=True)], np.float32)
    if not len(rles):
        return masks
    boxes = corners(RunTable.from_rles(rles))
    changed = replace(masks, rles=rles, boxes=boxes)
    return suppressed(changed, same, max(config.nms_iou, config.crop_nms_iou), config)
