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
    """What the decoder found for P prompts; scores and masks are made when they are asked for."""

    model: PromptableParts
    embedding: Embedding
    tokens: Tensor = field(repr=False)  # (P, T, C) after the transformer
    image: Tensor = field(repr=False)  # (P, N, C) after the transformer
    outputs: slice  # of all mask tokens: SAM's own, then new ones
    fold: bool

    @property
    def scores(self) -> Tensor:
        """IoU that the model predicts for its masks, (P, M)."""
        model, head = self.model, self.model.network.mask_decoder.iou_prediction_head
        token = self.tokens[:, model.first_mask_token - 1]
        if not model.new_masks:
            return cast(Tensor, head(token)[:, self.outputs])
        hidden = head.activation(head.proj_in(token))
        for layer in head.layers:
            hidden = head.activation(layer(hidden))
        outputs = [head.proj_out, *(new.scores for new in model.new_masks)]
        scores = torch.cat([output(hidden) for output in outputs], dim=1)
        # Heads of SAM have no such attribute set, those of SAM 2 end in a sigmoid.
        return (scores.sigmoid() if head.sigmoid_output else scores)[:, self.outputs]

    def logits(self, rows: Tensor | None = None) -> Tensor:
        """Compute the masks of some prompts.

        Parameters
        ----------
        rows : (Q,) int tensor, optional
            Indices of prompts; by default all.

        Returns
        -------
        (Q, M, 4 h, 4 w) tensor
            Logits; positive inside of the mask.
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
        # All of SAM's own tokens at once, as in transformers, for the same bits.
        groups = [slice(0, own), slice(own, last)] if last > own else [slice(0, own)]
        masks = [self._weights(tokens, group) @ pixels for group in groups]
        return torch.cat(masks, dim=1)[:, self.outputs].reshape(len(tokens), -1, 4 * h, 4 * w)

    def _weights(self, tokens: Tensor, outputs: slice) -> Tensor:
        """Weights of the pixel features per mask, (P, M, C / 8)."""
        model = self.model
        chosen = range(outputs.start, outputs.stop)
        made = [model.hypernetworks[i](tokens[:, model.first_mask_token + i]) for i in chosen]
        return torch.stack(made, dim=1)


def decode(
    model: PromptableParts, embedding: Embedding, prompts: Prompts, outputs: slice, *, fold: bool
) -> Decoding:
    """Run the decoder up to where masks are made.

    Parameters
    ----------
    model : PromptableParts
    embedding : Embedding
        Of one image.
    prompts : Prompts
        P of them.
    outputs : slice
        Which of all mask tokens are wanted: SAM's own, then new ones.
    fold : bool
        Compute as :mod:`unsam_cli.sam.folded` does; else as transformers does, bit for bit.
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
    """Tokens (P, T, C) of the prompts, if any, and what the image gets added, (1 or P, C, h, w)."""
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
    """All tokens, (P, T, C): of objects (SAM 2), of scores, of masks; then those of the prompts."""
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
    """Enlarge the image's tokens (P, N, C) four times, (P, C / 8, 16 N)."""
    x = decoder.upscale_conv1(image.transpose(1, 2).reshape(len(image), -1, *grid))
    x = decoder.activation(decoder.upscale_layer_norm(x + high[1] if high else x))
    x = decoder.upscale_conv2(x)
    upscaled: Tensor = decoder.activation(x + high[0] if high else x)
    return upscaled.flatten(2)
