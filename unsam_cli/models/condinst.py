"""A segmenter that learns from scratch: every cell of a pyramid can predict one mask around it.

Learnt queries must divide the masks of all images among themselves before they can learn what masks
look like. Here, a query *is* a position and a size, so the assignment is known from the start:
networks with random weights learn from a few hundred images what learnt queries do not learn from
many times as many.

- Cells are queries, assigned by position and size: FCOS (Tian et al., ICCV 2019).
- Each cell predicts a linear filter on shared features: CondInst (Tian et al., ECCV 2020), whose
  features include the position relative to the cell, and SOLOv2 (Wang et al., NeurIPS 2020), whose
  filter is a single product. Here it is a single product, with the position as a quadratic form.
- The only score is the predicted IoU of the mask: GFL (Li et al., NeurIPS 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unsam_cli.models.candidates import pick
from unsam_cli.models.cells import FORM, RANGES, Cells, place_maps
from unsam_cli.models.pixel_decoder import Run
from unsam_cli.models.predictions import Predictions, at_least_single
from unsam_cli.models.unet import Norm, Stages, convolve, in_groups

UNET = "unet"
STRIDE = 2
"""Stride of the pixel features, in pixels: small objects are a few pixels wide."""
_RARE = -4.0  # initial logit of the scores: very few cells have a mask


@dataclass(frozen=True)
class CondInstConfig:
    """Structure of the network, as stored in ``config.json``.

    Parameters
    ----------
    backbone : str
        ``unet``, or a timm network with features at strides 4, 8, 16 and 32.
    out_indices : tuple of int
        Indices of these features in a timm network; empty for ``unet``.
    hidden : int
        Channels of the pyramid.
    embedding : int
        Channels of the learnt pixel features.
    queries : int
        Maximum number of masks per image.
    stem : int
        Channels at stride 2; the stages of ``unet`` are 2, 8/3, 4 and 16/3 times as wide.
    """

    backbone: str = UNET
    out_indices: tuple[int, ...] = ()
    hidden: int = 64
    embedding: int = 24
    queries: int = 1000
    stem: int = 24

    @classmethod
    def of_width(cls, hidden: int, **others: Any) -> CondInstConfig:
        """Return a configuration in which all widths are proportional to that of the pyramid."""
        stem = in_groups(hidden * 3 / 8)
        return cls(hidden=hidden, embedding=stem, stem=stem, **others)


class CondInst(nn.Module):
    """Network that computes pixel features at stride 2 and a score and a mask filter per cell.

    Parameters
    ----------
    config : CondInstConfig
    """

    def __init__(self, config: CondInstConfig) -> None:
        super().__init__()
        self.config = config
        hidden, embedding, stem = config.hidden, config.embedding, config.stem
        self.stem = convolve(3, stem, stride=2)
        self.backbone: nn.Module
        if config.backbone == UNET:
            self.backbone = Stages(stem)
            widths: Sequence[int] = self.backbone.widths
        else:
            self.backbone = _timm_network(config)
            widths = self.backbone.feature_info.channels()  # type: ignore[operator, union-attr]
        self.laterals = nn.ModuleList(nn.Conv2d(width, hidden, 1) for width in widths)
        self.context = nn.Conv2d(hidden, hidden, 1)
        self.merges = nn.ModuleList(convolve(hidden, hidden) for _ in widths[1:])
        self.towers = nn.ModuleList(convolve(hidden, hidden) for _ in widths)
        self.heads = nn.ModuleList(_head(hidden, embedding) for _ in widths)
        self.unfold = nn.Conv2d(hidden, 4 * stem, 1)
        self.norm = Norm(stem)
        self.features = nn.Conv2d(stem, embedding, 3, padding=1)

    def forward(self, pixels: Tensor, run: Run) -> tuple[Tensor, list[Tensor]]:
        """Return the pixel features and, for each stride, the outputs of its cells.

        `pixels` is (B, 3, H, W), normalised; `run` calls each part of the network. Features are
        (B, E, H / 2, W / 2) float32, cells (B, R * h_i * w_i, 1 + E + 6), see `Cells.embeddings`.
        """
        if not self.training:  # faster forward, slower backward, by a fifth each on AVX2
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        fine = run(self.stem, pixels)
        maps = run(self.backbone, fine if self.config.backbone == UNET else pixels)
        levels = run(self._pyramid, *maps)
        features = run(self._features, fine, levels[0])
        cells = [
            run(cell_numbers, tower, head, level)
            for tower, head, level in zip(self.towers, self.heads, levels, strict=True)
        ]
        return features, cells

    def _pyramid(self, *maps: Tensor) -> list[Tensor]:
        """Add coarse features to the finer ones, from the top down (FPN)."""
        coarse = self.laterals[-1](maps[-1])
        coarse = coarse + self.context(coarse.mean((2, 3), keepdim=True))
        levels = [self.merges[-1](coarse)]
        for i in range(len(maps) - 2, -1, -1):
            fine = self.laterals[i](maps[i])
            joined = fine + _enlarge(levels[0], fine)
            levels.insert(0, self.merges[i - 1](joined) if i else joined)
        return levels

    def _features(self, fine: Tensor, level: Tensor) -> Tensor:
        joined = fine + functional.pixel_shuffle(self.unfold(level), 2)
        return at_least_single(self.features(functional.silu(self.norm(joined))))


def predict_condinst(network: CondInst, pixels: Tensor, run: Run) -> Predictions:
    """Predict masks: of all cells in training, of the best cells otherwise.

    Parameters
    ----------
    network : CondInst
    pixels : (B, 3, H, W) float tensor
        Normalised; H and W are multiples of 32.
    run : callable
        Calls a part of the network with its arguments.

    Returns
    -------
    Predictions
        One layer. In training, one query per cell in the order of `Cells`, without windows.
    """
    features, numbers = network(pixels, run)
    cells = Cells.of((pixels.shape[2], pixels.shape[3]), pixels.device)
    fixed = place_maps((features.shape[2], features.shape[3]), STRIDE, features.device)
    features = torch.cat((features, fixed.expand(len(features), -1, -1, -1)), 1)
    joined = torch.cat(numbers, 1)
    # The place is squared in pixels, for which half precision is not enough.
    with torch.autocast(pixels.device.type, enabled=False):
        if not network.training:
            return pick(features, joined, cells, network.config.queries)
        scores = joined[..., 0]
        logits = torch.stack((scores, torch.zeros_like(scores)), -1)
        return Predictions(logits[None], cells.embeddings(joined)[None], features)


def cell_numbers(tower: nn.Module, head: nn.Module, level: Tensor) -> Tensor:
    """Return the outputs of the cells of a stride, (B, R * h * w, 1 + E + 6) float32.

    `tower` and `head` are layers of `CondInst`; `level` is (B, hidden, h, w).
    """
    seen = tower(level).permute(0, 2, 3, 1)
    # Scores in half precision would be equal in many neighbouring cells.
    with torch.autocast(seen.device.type, enabled=False):
        numbers = head(at_least_single(seen)).flatten(1, 2)
    return numbers.unflatten(2, (RANGES, -1)).transpose(1, 2).flatten(1, 2)  # type: ignore[no-any-return]


def _enlarge(coarse: Tensor, fine: Tensor) -> Tensor:
    return functional.interpolate(coarse, fine.shape[-2:], mode="bilinear", align_corners=False)


def _head(hidden: int, embedding: int) -> nn.Linear:
    """Return the layer that computes a score, an embedding and a quadratic form per size range."""
    numbers = 1 + embedding + FORM
    head = nn.Linear(hidden, RANGES * numbers)
    nn.init.normal_(head.weight, std=0.01)
    with torch.no_grad():
        start = torch.zeros(RANGES, numbers)
        start[:, 0] = _RARE
        start[:, -FORM] = 1.0  # inside of an ellipse around the cell
        head.bias.copy_(start.flatten())
    return head


def _timm_network(config: CondInstConfig) -> nn.Module:
    import timm

    return timm.create_model(  # type: ignore[no-any-return]
        config.backbone, pretrained=False, features_only=True, out_indices=config.out_indices
    )
