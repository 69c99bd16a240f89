"""The network of a promptable segmenter and the parts that are added to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from unsam_cli.sam.granularity import GranularityPrompt
from unsam_cli.sam.promptable import Promptable
from unsam_cli.sam.settings import SAM_MASKS, PromptableConfig
from unsam_cli.sam.tokens import MaskTokens


class Granularity(nn.Module):
    """The two tokens of granularity: one in the prompt, and one for the answer."""

    def __init__(self, decoder: Any, generator: torch.Generator) -> None:
        super().__init__()
        self.prompt = GranularityPrompt(decoder.hidden_size, generator)
        self.output = MaskTokens(decoder, [0], generator)


class PromptableParts(Promptable):
    """A SAM of Hugging Face with new parts, behind one interface.

    Parameters
    ----------
    network : SamModel or Sam2Model
    config : PromptableConfig, optional
        Parts to add. By default nothing is added, and the model is exactly the network.
    seed : int
        Seed of the initial weights of new parts.

    Attributes
    ----------
    low : int
        Side of the square mask logits, in pixels: a quarter of `side` in published networks.
    levels, granularity : nn.Module or None
        Tokens of more masks, and of a requested granularity.
    """

    granularity: Granularity | None
    encoder = pretrained = ("vision_encoder.",)
    decoder = ("mask_decoder.",)
    boxes = True

    def __init__(
        self, network: Any, config: PromptableConfig | None = None, *, seed: int = 0
    ) -> None:
        sizes = network.config.prompt_encoder_config
        super().__init__(
            network,
            config or PromptableConfig(),
            family=network.config.model_type,
            side=sizes.image_size,
        )
        self.low: int = 4 * self.side // sizes.patch_size
        self.first_mask_token = 2 if self.family == "sam2" else 1
        decoder, generator = network.mask_decoder, torch.Generator().manual_seed(seed)
        more = [1 + i % SAM_MASKS for i in range(self.config.masks_per_prompt - SAM_MASKS)]
        self.levels = MaskTokens(decoder, more, generator) if more else None
        self.granularity = Granularity(decoder, generator) if self.config.granularity else None

    @property
    def new_masks(self) -> list[MaskTokens]:
        """The added mask tokens."""
        new = [self.levels, self.granularity.output if self.granularity else None]
        return [tokens for tokens in new if tokens is not None]

    @property
    def hypernetworks(self) -> list[nn.Module]:
        """The networks from each mask token to weights of the pixel features, SAM's own first."""
        own = self.network.mask_decoder.output_hypernetworks_mlps
        return [*own, *(module for new in self.new_masks for module in new.hypernetworks)]
