"""Training prompts for an image: clicks in masks and boxes around masks, with their targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unsam_cli.sam.prompts import Prompts
from unsam_cli.sam.settings import PromptableConfig
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.prompted.losses import at_pixels, overlap
from unsam_cli.training.prompted.settings import PromptSettings

_BOX_NOISE, _MOST_NOISE = 0.1, 20 / 1024  # fraction of the box's side; of the image's side


@dataclass(frozen=True)
class Questions:
    """P prompts of one kind for one image, with their target masks.

    Attributes
    ----------
    prompts : Prompts
        The prompts, in pixels of the network's input.
    multimask : bool
        Whether each is answered with several masks, as an ambiguous prompt.
    clicked : (P,) int64 tensor
        Index of the mask that each prompt was drawn for.
    targets : (P, K) int64 tensor
        Indices of the correct masks of each prompt, padded with -1; at most one per answer.
    """

    prompts: Prompts
    multimask: bool
    clicked: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.clicked)

    def __getitem__(self, rows: slice) -> Questions:
        """Return the questions of a slice."""
        return replace(
            self,
            prompts=self.prompts[rows],
            clicked=self.clicked[rows],
            targets=self.targets[rows],
        )

    def to(self, device: str) -> Questions:
        """Move all tensors to a device."""
        return replace(
            self,
            prompts=self.prompts.to(device),
            clicked=self.clicked.to(device),
            targets=self.targets.to(device),
        )

    def pairs(self, corrections: int) -> int:
        """Count the answers that are compared with a mask, with `corrections` further clicks."""
        return int((self.targets >= 0).sum()) + corrections * len(self)


def draw_questions(
    masks: BitMasks,
    fineness: NDArray[np.float32] | None,
    parts: PromptableConfig,
    settings: PromptSettings,
    rng: np.random.Generator,
) -> tuple[Questions, ...]:
    """Draw prompts for the masks of an image.

    Parameters
    ----------
    masks : BitMasks
        n masks in the network's input, none of them empty.
    fineness : (n,) float32 or None
        Granularity of each mask, if granularity is learnt.
    parts : PromptableConfig
        `masks_per_prompt` limits the number of targets.
    settings : PromptSettings
        Number and kinds of prompts.
    rng : numpy.random.Generator
        Source of all randomness.

    Returns
    -------
    tuple of Questions
        One element per kind of prompt: click or box, with or without granularity. Kinds without
        prompts are left out.

    References
    ----------
    X. Wang et al., "Segment Anything without Supervision" (2024): masks are shuffled and repeated,
    a click is a uniformly random pixel, and its targets are all masks that contain the pixel.
    """
    if not len(masks):
        return ()
    count = settings.clicks
    order = [rng.permutation(len(masks)) for _ in range(-(-count // len(masks)))]
    clicked = np.concatenate(order)[:count]
    as_box = rng.random(count) < settings.boxes
    graded = (np.arange(count) % 2 == 1) & (fineness is not None)  # every second prompt
    found = []
    for box in (False, True):
        for grade in (False, True):
            chosen = torch.from_numpy(clicked[(as_box == box) & (graded == grade)])
            if len(chosen):
                prompts, targets = (_boxes if box else _clicks)(masks, chosen, rng)
                if box or grade or settings.single_mask:
                    targets = chosen[:, None]
                if grade and fineness is not None:
                    prompts = replace(prompts, granularity=torch.from_numpy(fineness)[chosen])
                targets = _cut(targets, parts.masks_per_prompt, rng)
                found.append(Questions(prompts, not (box or grade), chosen, targets))
    return tuple(found)


@torch.no_grad()
def correct(
    prompts: Prompts,
    logits: Tensor,
    masks: BitMasks,
    clicked: Tensor,
    generator: torch.Generator,
) -> Prompts:
    """Add a correction click to each of P prompts, and the logits of the best answer.

    Parameters
    ----------
    prompts : Prompts
        Previous prompts.
    logits : (P, M, h, w) tensor
        Mask logits of the answers to them.
    masks : BitMasks
        All masks of the image.
    clicked : (P,) int64 tensor
        Index of the mask that each prompt is for.
    generator : torch.Generator
        Draws the click: a uniformly random wrong pixel of the answer with the highest IoU, or a
        pixel of the mask if none is wrong.

    Returns
    -------
    Prompts
        Prompts with one point more, and the best answers as mask prompts.

    References
    ----------
    Kirillov et al., "Segment Anything" (2023), appendix A.
    """
    P, M, h, w = logits.shape
    scores = overlap(logits.flatten(0, 1), masks, clicked.repeat_interleave(M)).reshape(P, M)
    best = logits[torch.arange(P, device=logits.device), scores.argmax(dim=1)]
    wanted = at_pixels(masks, clicked, (h, w))
    wrong = (best > 0) != wanted
    choice = torch.where(wrong.any(dim=(1, 2), keepdim=True), wrong, wanted).flatten(1).float()
    choice = choice + (choice.sum(dim=1, keepdim=True) == 0)  # too small a mask: anywhere
    pixel = torch.multinomial(choice, 1, generator=generator)
    scale = masks.height / h
    # The prompt encoder takes the upper left corner of a pixel and adds half a pixel.
    points = (torch.stack([pixel % w, pixel // w], dim=-1) + 0.5) * scale - 0.5
    labels = wanted.flatten(1).gather(1, pixel).long()
    if prompts.points is not None and prompts.labels is not None:
        points = torch.cat([prompts.points, points], dim=1)
        labels = torch.cat([prompts.labels, labels], dim=1)
    return replace(prompts, points=points, labels=labels, masks=best[:, None])


def _clicks(masks: BitMasks, chosen: Tensor, rng: np.random.Generator) -> tuple[Prompts, Tensor]:
    """Click on a random pixel of each mask; the targets are all masks that have this pixel."""
    places = []
    for bits in masks.bits[chosen]:
        column, row = np.nonzero(np.unpackbits(bits.numpy(), axis=1)[:, : masks.height])
        pixel = rng.integers(len(row))
        places.append((int(column[pixel]), int(row[pixel])))
    x, y = torch.tensor(places).T
    inside = (masks.bits[:, x, y >> 3] >> (7 - (y & 7)).to(torch.uint8)) & 1  # (n, P)
    targets = torch.full((len(chosen), int(inside.sum(dim=0).max())), -1)
    for row_of, has in zip(targets, inside.T, strict=True):
        right = has.nonzero()[:, 0]
        row_of[: len(right)] = right
    points = torch.stack([x, y], dim=1)[:, None].float()
    return Prompts(points, torch.ones(len(chosen), 1, dtype=torch.int64)), targets


def _boxes(masks: BitMasks, chosen: Tensor, rng: np.random.Generator) -> tuple[Prompts, Tensor]:
    """Draw boxes around masks, with small random shifts.

    References
    ----------
    Kirillov et al., "Segment Anything" (2023), appendix A: noise of 10 % of the side, at most 20 of
    1024 pixels.
    """
    height, width = masks.size
    boxes = []
    for bits in masks.bits[chosen]:
        columns = np.flatnonzero(bits.numpy().any(axis=1))
        rows = np.flatnonzero(np.unpackbits(np.bitwise_or.reduce(bits.numpy(), axis=0)))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)
        side = np.tile(box[2:] - box[:2], 2)
        most = np.minimum(_MOST_NOISE * np.tile([width, height], 2), side / 2)
        noise = np.clip(rng.normal(size=4) * _BOX_NOISE * side, -most, most)
        boxes.append(np.clip(box + noise, 0, np.tile([width, height], 2)))
    return Prompts(boxes=torch.from_numpy(np.stack(boxes)).float()), chosen[:, None]


def _cut(targets: Tensor, most: int, rng: np.random.Generator) -> Tensor:
    """Keep at most `most` of the targets (P, K) of every prompt, drawn at random; -1 last."""
    rank = torch.from_numpy(rng.random(tuple(targets.shape))) + 2.0 * (targets < 0)
    return targets.gather(1, rank.argsort(dim=1)[:, :most])
