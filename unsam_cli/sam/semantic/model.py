"""UnSAM's promptable network behind the interface of all promptable models."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from unsam_cli.errors import UsageError
from unsam_cli.rle import Axis
from unsam_cli.sam.frame import Frame
from unsam_cli.sam.promptable import MaskLogits, Promptable
from unsam_cli.sam.prompts import Prompts
from unsam_cli.sam.semantic.clicks import Answers
from unsam_cli.sam.semantic.config import SemanticConfig
from unsam_cli.sam.semantic.network import SemanticNetwork
from unsam_cli.sam.semantic.pyramid import Pyramid
from unsam_cli.sam.settings import PromptableConfig

FAMILY = "semantic-sam"
_SIDE = 1024  # of the input in training, in pixels
_MULTIPLE = 32
_CLICK = 6.0
"""Side of the box that stands for a click, in pixels of the input; as in training."""


@dataclass(frozen=True)
class SemanticDecoding:
    """Answers to P clicks; masks are computed on request."""

    pyramid: Pyramid
    answers: Answers

    @property
    def scores(self) -> Tensor:
        """Predicted IoU of each mask, (P, M); any number."""
        return self.answers.scores

    def logits(self, rows: Tensor | None = None) -> Tensor:
        """Compute the masks (Q, M, h, w) of the clicks at indices `rows`, by default of all."""
        return self.answers.masks(self.pyramid, rows)


class SemanticModel(Promptable):
    """UnSAM's promptable model: M masks per click on the object; it knows no boxes.

    Several clicks are answered with one of the masks of the clicks on the object: the one that
    agrees with most clicks, inside and outside, and among these has the highest score.

    Parameters
    ----------
    network : SemanticNetwork

    Attributes
    ----------
    limits : (int, int)
        Short side of the input, and most of its long side, in pixels; as in UnSAM's evaluation.
    """

    limits = (800, 1333)
    granularity = None
    encoder, pretrained = ("backbone.", "pixels."), ("backbone.",)
    decoder = ("clicks.",)
    boxes = False
    predicts_boxes = True
    network: SemanticNetwork

    def __init__(self, network: SemanticNetwork) -> None:
        config = PromptableConfig(network.config.masks)
        super().__init__(network, config, family=FAMILY, side=_SIDE)

    @property
    def sizes(self) -> SemanticConfig:
        """Sizes of the network."""
        return self.network.config

    def frame(self, size: tuple[int, int]) -> Frame:
        """Return where an image of `size` (H, W), in pixels, lies in the network's input."""
        return Frame.within(size, *self.limits, _MULTIPLE)

    def axes(self, frame: Frame) -> tuple[Axis, Axis]:
        """Return the resampling of rows and columns from logits to the image."""
        height, width = frame.padded
        return frame.axes((height // 4, width // 4))

    def embed(self, pixels: Tensor) -> Pyramid:
        """Run the image encoder on (B, 3, H, W); H and W are multiples of 32."""
        return self.network.encode(pixels, self.precision())

    def attend(
        self, embedding: Pyramid, prompts: Prompts, *, multimask: bool = True, fold: bool = False
    ) -> SemanticDecoding:
        """Answer single clicks with M masks each; there is one way of computing, so no `fold`.

        Raises
        ------
        UsageError
            The prompts have a granularity or boxes.
        """
        points, _ = _clicks(prompts)
        boxes = click_boxes(points[:, 0], embedding.size)
        answers = self.network.answer(embedding, boxes, deep=self.training)
        return SemanticDecoding(embedding, answers)

    def decode(
        self, embedding: Pyramid, prompts: Prompts, *, multimask: bool = True, fold: bool = False
    ) -> MaskLogits:
        """Answer single clicks with M masks each, or any clicks with one.

        Errors are those of :meth:`attend`; a prompt without a click on the object is one, too.
        """
        if multimask:
            return _complete(self.attend(embedding, prompts).answers, embedding)
        chosen = [
            self._agreeing(embedding, points[labels >= 0], labels[labels >= 0])
            for points, labels in zip(*_clicks(prompts), strict=True)
        ]
        logits, scores = zip(*chosen, strict=True)
        return MaskLogits(torch.stack(logits)[:, None], torch.stack(scores)[:, None])

    def _agreeing(
        self, embedding: Pyramid, points: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Choose a mask (h, w) and its score for clicks (K, 2) with labels (K,) on one object."""
        if not (labels == 1).any():
            raise UsageError("this model needs a click on the object: give a point with label 1")
        single = Prompts(points[labels == 1][:, None], labels[labels == 1][:, None])
        found = self.attend(embedding, single)
        logits, scores = found.logits().flatten(0, 1), found.scores.flatten()
        height, width = embedding.size
        places = 2 * (points + 0.5) / points.new_tensor((width, height)) - 1
        grid = places[None, None].expand(len(logits), -1, -1, -1)
        inside = functional.grid_sample(logits[:, None], grid, align_corners=False)[:, 0, 0] > 0
        agreeing = (inside == (labels == 1)).sum(dim=1)
        best = torch.where(agreeing == agreeing.max(), scores, -torch.inf).argmax()
        return logits[best], scores[best]


def _complete(answers: Answers, pyramid: Pyramid) -> MaskLogits:
    """Compute all masks of answers, and of those of earlier layers."""
    earlier = tuple(_complete(one, pyramid) for one in answers.earlier)
    return MaskLogits(answers.masks(pyramid), answers.scores, answers.boxes, earlier)


def _clicks(prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Return points and labels of prompts; refuse all else."""
    if prompts.granularity is not None:
        raise UsageError("this model does not support granularity: use a fine-tuned SAM")
    if prompts.points is None or prompts.labels is None or prompts.boxes is not None:
        raise UsageError("this model answers clicks, not boxes: give points")
    return prompts.points, prompts.labels


def click_boxes(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the boxes that stand for clicks, for :meth:`SemanticNetwork.answer`.

    Parameters
    ----------
    points : (P, 2) float tensor
        x, y of each click, in pixels of the input.
    size : (H, W)
        Height and width of the input with its padding, in pixels.

    Returns
    -------
    (P, 4) float tensor
        x, y of the centre, width and height, as fractions of the padded input.
    """
    height, width = size
    sides = torch.full_like(points, _CLICK)
    return torch.cat([points, sides], dim=1) / points.new_tensor((width, height, width, height))
