"""The decoder of UnSAM's promptable model: from clicks and a pyramid to masks, scores and boxes.

Names of modules are those of the published checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention as DeformableAttention,
)

from unsam_cli.deformable import attend, project
from unsam_cli.sam.semantic.config import HEADS, LEVELS, POINTS, SemanticConfig
from unsam_cli.sam.semantic.pyramid import Pyramid, waves

_LEAST = 1e-5
"""Least distance of a coordinate from 0 and 1, where its logit is infinite."""


@dataclass(frozen=True)
class Answers:
    """Answers to P clicks, M per click; masks are computed on request.

    Attributes
    ----------
    embeddings : (P, M, C) tensor
        Weights of the mask features.
    scores : (P, M) tensor
        Predicted IoU; any number, since the head has no limits.
    boxes : (P, M, 4) tensor
        x, y of the centre, width and height, as fractions of the padded input.
    earlier : tuple of Answers
        What the heads read after each layer but the last, if that was asked for.
    """

    embeddings: Tensor
    scores: Tensor
    boxes: Tensor
    earlier: tuple[Answers, ...] = ()

    def masks(self, pyramid: Pyramid, rows: Tensor | None = None) -> Tensor:
        """Return mask logits (P, M, h, w) at stride 4, of all clicks or those at indices `rows`."""
        chosen = self.embeddings if rows is None else self.embeddings[rows]
        return torch.einsum("pmc,chw->pmhw", chosen, pyramid.features[0])


class ClickDecoder(nn.Module):
    """Tokens of clicks that attend to each other and to the image, and the heads that read them."""

    def __init__(self, config: SemanticConfig) -> None:
        super().__init__()
        width = config.hidden
        self.mask_embed = Perceptron(width, width, width, 3)
        self.decoder_norm = nn.LayerNorm(width)
        self.decoder = Decoder(config)
        self._bbox_embed = Perceptron(width, width, 4, 3)
        self.iou_prediction_head = Perceptron(width, width, 1, 3)
        self.mask_tokens = nn.Embedding(config.masks, width)
        self.pb_embedding = nn.Embedding(2, width)
        self.label_enc = nn.Embedding(2, width)

    def forward(
        self,
        pyramid: Pyramid,
        boxes: Tensor,
        *,
        apart: bool = True,
        kind: int = 0,
        deep: bool = False,
    ) -> Answers:
        """Answer clicks on one image.

        Parameters
        ----------
        pyramid : Pyramid
            Features of the image (B = 1).
        boxes : (P, 4) float tensor
            Small boxes around the clicks: x, y of the centre, width and height, as fractions of the
            padded input.
        apart : bool
            Whether the tokens of a click attend only to each other, as in training and evaluation;
            otherwise to those of all clicks, as in the authors' demos.
        kind : {0, 1}
            Row of the embedding of kinds of prompts: 0 as in all inference of the authors, 1 as in
            their training.
        deep : bool
            Whether to read the answers after every layer, for training.
        """
        kind_of = self.label_enc.weight[0] + self.pb_embedding.weight[kind]
        tokens = (kind_of + self.mask_tokens.weight).expand(len(boxes), -1, -1)
        P, M, _ = tokens.shape
        tokens = tokens if apart else tokens.reshape(1, P * M, -1)
        reference = _logit(boxes).sigmoid()[:, None].expand(-1, M, -1).reshape(*tokens.shape[:2], 4)
        found: list[Answers] = []
        values = self.decoder.values(pyramid)
        for number, (layer, seen) in enumerate(zip(self.decoder.layers, values, strict=True), 1):
            place = self.decoder.ref_point_head(encode_boxes(reference, tokens.shape[2] // 2))
            tokens = layer(tokens, place, reference, seen)
            if deep or number == len(values):
                found.append(self._read(tokens, reference, P, M))
            reference = self._moved(tokens, reference).detach()
        return replace(found[-1], earlier=tuple(found[:-1]))

    def _read(self, tokens: Tensor, entered: Tensor, P: int, M: int) -> Answers:
        """Read the answers to P clicks, M each, from tokens, and boxes that entered the layer."""
        # The decoder normalises its output, and the heads do so once more.
        normed = self.decoder_norm(self.decoder_norm(tokens))
        found = self.mask_embed(normed), self.iou_prediction_head(normed)
        embeddings, scores = (x.reshape(P, M, -1) for x in found)
        # The box is the move of the normalised token, from where the layer began.
        return Answers(embeddings, scores[..., 0], self._moved(normed, entered).reshape(P, M, 4))

    def _moved(self, tokens: Tensor, reference: Tensor) -> Tensor:
        moved: Tensor = (self._bbox_embed(tokens) + _logit(reference)).sigmoid()
        return moved


class Decoder(nn.Module):
    """The layers, and the network that encodes where a token looks."""

    def __init__(self, config: SemanticConfig) -> None:
        super().__init__()
        layers = [DecoderLayer(config) for _ in range(config.click_layers)]
        self.layers: Iterable[DecoderLayer] = nn.ModuleList(layers)  # type: ignore[assignment]
        self.ref_point_head = Perceptron(2 * config.hidden, config.hidden, config.hidden, 2)

    def values(self, pyramid: Pyramid) -> list[list[Tensor]]:
        """Project the image for each layer, coarsest level first; once per image if not training.

        They take 0.2 GB at 800 x 1333; else each batch of clicks would project the image again.
        """
        if torch.is_grad_enabled():
            return [layer.values(pyramid) for layer in self.layers]
        if not pyramid.kept:
            pyramid.kept.extend(layer.values(pyramid) for layer in self.layers)
        return pyramid.kept


class DecoderLayer(nn.Module):
    """Attention between tokens, then to the image, then a feed-forward network."""

    def __init__(self, config: SemanticConfig) -> None:
        super().__init__()
        width = config.hidden
        self.cross_attn = DeformableAttention(width, HEADS, LEVELS, POINTS)
        self.norm1 = nn.LayerNorm(width)
        self.self_attn = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, config.feedforward)
        self.linear2 = nn.Linear(config.feedforward, width)
        self.norm3 = nn.LayerNorm(width)

    def values(self, pyramid: Pyramid) -> list[Tensor]:
        """Project what the tokens attend to, coarsest level first."""
        return project(self.cross_attn, pyramid.memory, pyramid.shapes)[::-1]

    def forward(
        self, tokens: Tensor, place: Tensor, reference: Tensor, values: Sequence[Tensor]
    ) -> Tensor:
        """Update tokens (G, T, C) of G groups; a token attends to those of its group."""
        asking = tokens + place
        mixed = self.self_attn(asking, asking, tokens, need_weights=False)[0]
        tokens = self.norm2(tokens + mixed)
        asking, boxes = ((x.flatten(0, 1)[None]) for x in (tokens + place, reference))
        seen = attend(self.cross_attn, asking, boxes, values)
        tokens = self.norm1(tokens + seen.view(tokens.shape))
        updated: Tensor = self.norm3(tokens + self.linear2(self.linear1(tokens).relu()))
        return updated


class Perceptron(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int, count: int) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * (count - 1), outputs]
        self.layers = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))

    def forward(self, x: Tensor) -> Tensor:
        """Turn (..., inputs) into (..., outputs)."""
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        result: Tensor = self.layers[-1](x)
        return result


def encode_boxes(boxes: Tensor, count: int) -> Tensor:
    """Encode boxes (..., 4) as sines and cosines (..., 4 count), in the order y, x, w, h."""
    return waves(boxes[..., [1, 0, 2, 3]] * 2 * math.pi, count).flatten(-2)


def _logit(x: Tensor) -> Tensor:
    # Not torch.logit: it clamps x, but not 1 - x.
    return (x.clamp(min=_LEAST) / (1 - x).clamp(min=_LEAST)).log()
