"""A promptable segmenter: SAM or SAM 2, with the added parts."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from unsam_cli.errors import UsageError
from unsam_cli.rle import Axis
from unsam_cli.sam.decoding import Decoding, decode
from unsam_cli.sam.embedding import Embedding
from unsam_cli.sam.frame import Frame
from unsam_cli.sam.lora import lora_parameters
from unsam_cli.sam.parts import PromptableParts
from unsam_cli.sam.promptable import MaskLogits, Promptable
from unsam_cli.sam.prompts import Prompts
from unsam_cli.sam.settings import SAM_MASKS

Train = Literal["decoder", "lora", "all"]


class PromptableModel(PromptableParts):
    """SAM or SAM 2, which encodes images and answers prompts."""

    def frame(self, size: tuple[int, int]) -> Frame:
        """Return where an image of `size` (H, W), in pixels, lies in the network's input."""
        return Frame.of(size, self.side, square=self.family == "sam2")

    def axes(self, frame: Frame) -> tuple[Axis, Axis]:
        """Return the resampling of rows and columns from logits to the image."""
        return frame.axes((self.low, self.low))

    def embed(self, pixels: Tensor) -> Embedding:
        """Run the image encoder.

        Parameters
        ----------
        pixels : (B, 3, S, S) float32 tensor
            B images, each from :meth:`Frame.pixels`.

        Returns
        -------
        Embedding
            Features of the B images.
        """
        with self.precision():
            if self.family == "sam":
                return Embedding(self.network.vision_encoder(pixels).last_hidden_state)
            maps = self.network.get_image_features(pixels, return_dict=True).fpn_hidden_states
            maps = [*maps[:-1], maps[-1] + self.network.no_memory_embedding]
        sizes = self.network.backbone_feature_sizes
        features = [
            x.permute(1, 2, 0).unflatten(2, tuple(size))
            for x, size in zip(maps, sizes, strict=True)
        ]
        return Embedding(features[-1], tuple(features[:-1]))

    def attend(
        self, embedding: Embedding, prompts: Prompts, *, multimask: bool = True, fold: bool = False
    ) -> Decoding:
        """Run the transformer of the decoder for some prompts of one image.

        Parameters
        ----------
        embedding : Embedding
            Embedding of one image (B = 1).
        prompts : Prompts
            P prompts. Memory grows with P, so pass a few dozen at a time.
        multimask : bool
            Whether to answer with `masks_per_prompt` masks, for ambiguous prompts, or with one.
            Prompts with a granularity always get one.
        fold : bool
            Use the faster computation, equal up to rounding; otherwise compute exactly as
            transformers does.

        Returns
        -------
        Decoding
            Computes scores and masks on request.

        Raises
        ------
        UsageError
            The prompts have a granularity, and the model does not support it.
        """
        own = self.network.mask_decoder.num_mask_tokens
        if prompts.granularity is not None:
            if self.granularity is None:
                raise UsageError(
                    "this model does not support granularity: fine-tune it with --granularity"
                )
            last = own + self.config.masks_per_prompt - SAM_MASKS
            outputs = slice(last, last + 1)
        elif multimask:
            outputs = slice(1, self.config.masks_per_prompt + 1)
        else:
            outputs = slice(0, 1)
        return decode(self, embedding, prompts, outputs, fold=fold)

    def decode(
        self, embedding: Embedding, prompts: Prompts, *, multimask: bool = True, fold: bool = False
    ) -> MaskLogits:
        """Answer prompts of one image; parameters and errors are those of :meth:`attend`.

        Returns
        -------
        MaskLogits
            `masks_per_prompt` masks per prompt, or one.
        """
        decoder = self.network.mask_decoder
        dynamic = getattr(decoder, "dynamic_multimask_via_stability", False) and not self.training
        if multimask or prompts.granularity is not None or not dynamic:
            found = self.attend(embedding, prompts, multimask=multimask, fold=fold)
            return MaskLogits(found.logits(), found.scores)
        # SAM 2: where the one mask is not stable, the best of the others.
        found = decode(self, embedding, prompts, slice(0, decoder.num_mask_tokens), fold=fold)
        stable = decoder._dynamic_multimask_via_stability(found.logits()[None], found.scores[None])
        return MaskLogits(stable[0][0], stable[1][0])


def trainable(model: Promptable, what: Train) -> list[nn.Parameter]:
    """Freeze all parameters except those to train.

    Parameters
    ----------
    model : Promptable
        Changed in place.
    what : {"decoder", "lora", "all"}
        Train the mask decoder, the adapters of `add_lora`, or everything. New parts are always
        trained.

    Returns
    -------
    list of Parameter
        The trained parameters.

    Notes
    -----
    The random frequencies that encode positions are never trained: in SAM they are constants. SAM
    2's projections of high-resolution features count as part of the encoder, whose output they are.

    Raises
    ------
    UsageError
        There is nothing to train.
    """
    new = [part for part in (getattr(model, "levels", None), model.granularity) if part is not None]
    chosen = {id(p) for part in new for p in part.parameters()}
    if what == "lora":
        chosen |= {id(p) for p in lora_parameters(model.network)}
    for name, parameter in model.network.named_parameters():
        encoder = name.startswith(("mask_decoder.conv_s0.", "mask_decoder.conv_s1."))
        if what == "all" or (what == "decoder" and name.startswith(model.decoder) and not encoder):
            chosen.add(id(parameter))
        if name.endswith("positional_embedding"):
            chosen.discard(id(parameter))
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in chosen)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise UsageError("there is nothing to train: the model has no adapters and no new parts")
    return trained
