"""SAM's decoder and the added parts: from prompts and image features to masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from unsam_cli.sam import folded
from unsam_cli.sam.embedding import Embedding
from unsam_cli.sam.parts import PromptableParts
from unsam_cli.sam.prompts import Prompts


@dataclass(frozen=True)
class Decoding:
    """State of the decoder for P prompts; scores and masks are computed on request."""

    model: PromptableParts
    embedding: Embedding
    tokens: Tensor = field(repr=False)  # (P, T, C) after the transformer
    image: Tensor = field(repr=False)  # (P, N, C) after the transformer
    outputs: slice  # the M requested mask tokens, of SAM's own followed by the new ones
    fold: bool

    @property
    def scores(self) -> Tensor:
        """Predicted IoU of each mask, (P, M)."""
        model, head = self.model, self.model.network.mask_decoder.iou_prediction_head
        token = self.tokens[:, model.first_mask_token - 1]
        if not model.new_masks:
            return cast(Tensor, head(token)[:, self.outputs])
        hidden = head.activation(head.proj_in(token))
        for layer in head.layers:
            hidden = head.activation(layer(hidden))
        outputs = [head.proj_out, *(new.scores for new in model.new_masks)]
        scores = torch.cat([output(hidden) for output in outputs], dim=1)
        # In SAM the attribute is not set; in SAM 2 the head ends in a sigmoid.
        return (scores.sigmoid() if head.sigmoid_output else scores)[:, self.outputs]

    def logits(self, rows: Tensor | None = None) -> Tensor:
        """Compute the masks of some prompts.

        Parameters
        ----------
        rows : (Q,) int64 tensor, optional
            Indices of the prompts; by default all.

        Returns
        -------
        (Q, M, 4 h, 4 w) tensor
            Mask logits, positive inside the mask; h x w is the grid of the image embedding.
        """
        tokens = self.tokens if rows is None else self.tokens[rows]
        image = self.image if rows is None else self.image[rows]
        decoder, high = self.model.network.mask_decoder, self.embedding.high
        h, w = self.embedding.image.shape[-2:]
        if self.fold:
            pixels = folded.upscale(decoder, image, (h, w), high).transpose(1, 2)
            return folded.unfold(self._weights(tokens, self.outputs) @ pixels, (h, w))
        pixels = _upscale(decoder, image, (h, w), high)
        own, last = decoder.num_mask_tokens, self.outputs.stop
        # All of SAM's own tokens at once, as in transformers, so that results are bit-identical.
        groups = [slice(0, own), slice(own, last)] if last > own else [slice(0, own)]
        masks = [self._weights(tokens, group) @ pixels for group in groups]
        return torch.cat(masks, dim=1)[:, self.outputs].reshape(len(tokens), -1, 4 * h, 4 * w)

    def _weights(self, tokens: Tensor, outputs: slice) -> Tensor:
        """Return the weights of the pixel features for each mask, (P, M, C / 8)."""
        model = self.model
        chosen = range(outputs.start, outputs.stop)
        made = [model.hypernetworks[i](tokens[:, model.first_mask_token + i]) for i in chosen]
        return torch.stack(made, dim=1)


def decode(
    model: PromptableParts, embedding: Embedding, prompts: Prompts, outputs: slice, *, fold: bool
) -> Decoding:
    """Run the transformer of the decoder; masks are computed later, from the result.

    Parameters
    ----------
    model : PromptableParts
    embedding : Embedding
        Embedding of one image (B = 1).
    prompts : Prompts
        P prompts for this image.
    outputs : slice
        Requested mask tokens, as indices into SAM's own tokens followed by the new ones.
    fold : bool
        Compute with :mod:`unsam_cli.sam.folded`; otherwise as transformers does, bit for bit.

    Returns
    -------
    Decoding
    """
    decoder = model.network.mask_decoder
    sparse, dense = _embed_prompts(model, prompts)
    tokens = _tokens(model, prompts, sparse)
    image = embedding.image + dense
    positions = model.network.get_image_wide_positional_embeddings().to(image)
    if fold:
        image, positions = (x.flatten(2).transpose(1, 2).contiguous() for x in (image, positions))
        tokens, image = folded.two_way(decoder.transformer, tokens, image, positions)
        return Decoding(model, embedding, tokens, image, outputs, fold)
    tokens, image = decoder.transformer(
        point_embeddings=tokens[None],
        image_embeddings=image.expand(len(prompts), -1, -1, -1),
        image_positional_embeddings=positions.expand(len(prompts), -1, -1, -1),
        attention_similarity=None,
    )
    return Decoding(model, embedding, tokens[0], image[:, 0], outputs, fold)


def _embed_prompts(model: PromptableParts, prompts: Prompts) -> tuple[Tensor | None, Tensor]:
    """Return the tokens of the prompts (P, T, C), if any, and a map to add to the embedding.

    The map is (1 or P, C, h, w).
    """
    points, labels = prompts.points, prompts.labels
    if points is None and prompts.boxes is None and model.family == "sam2":
        assert prompts.masks is not None
        points = prompts.masks.new_zeros(len(prompts), 1, 2)
        labels = torch.full((len(prompts), 1), -1, device=points.device)
    sparse, dense = model.network.prompt_encoder(
        input_points=None if points is None else points[None],
        input_labels=None if labels is None else labels[None],
        input_boxes=None if prompts.boxes is None else prompts.boxes[None],
        input_masks=prompts.masks,
    )
    return None if sparse is None else sparse[0], dense


def _tokens(model: PromptableParts, prompts: Prompts, sparse: Tensor | None) -> Tensor:
    """Return all tokens (P, T, C): of object (SAM 2), score and masks, then of the prompts."""
    decoder = model.network.mask_decoder
    outputs = [decoder.iou_token.weight, decoder.mask_tokens.weight]
    if model.family == "sam2":
        outputs.insert(0, decoder.obj_score_token.weight)
    if model.levels is not None:
        outputs.append(model.levels.tokens)
    asked = [] if sparse is None else [sparse]
    if prompts.granularity is not None:
        assert model.granularity is not None
        outputs.append(model.granularity.output.tokens)
        asked.append(model.granularity.prompt(prompts.granularity)[:, None])
    shared = torch.cat(outputs).expand(len(prompts), -1, -1)
    return torch.cat([shared, *asked], dim=1).to(decoder.iou_token.weight.dtype)


def _upscale(
    decoder: Any, image: Tensor, grid: tuple[int, int], high: tuple[Tensor, ...]
) -> Tensor:
    """Upscale the image's tokens (P, N, C) four times along each side, to (P, C / 8, 16 N)."""
    x = decoder.upscale_conv1(image.transpose(1, 2).reshape(len(image), -1, *grid))
    x = decoder.activation(decoder.upscale_layer_norm(x + high[1] if high else x))
    x = decoder.upscale_conv2(x)
    upscaled: Tensor = decoder.activation(x + high[0] if high else x)
    return upscaled.flatten(2)
