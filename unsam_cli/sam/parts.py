"""The network of a promptable segmenter and the parts that are added to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from unsam_cli.sam.granularity import GranularityPrompt
from unsam_cli.sam.settings import SAM_MASKS, PromptableConfig
from unsam_cli.sam.tokens import MaskTokens


class Granularity(nn.Module):
    """The two tokens of granularity: one in the prompt, and one for the answer."""

    def __init__(self, decoder: Any, generator: torch.Generator) -> None:
        super().__init__()
        self.prompt = GranularityPrompt(decoder.hidden_size, generator)
        self.output = MaskTokens(decoder, [0], generator)


class PromptableParts(nn.Module):
    """A Hugging Face network with new parts, behind one interface.

    Parameters
    ----------
    network : SamModel or Sam2Model
    config : PromptableConfig, optional
        Parts to add. By default nothing is added, and the model is exactly the network.
    seed : int
        Seed of the initial weights of new parts.

    Attributes
    ----------
    family : {"sam", "sam2"}
        Kind of the network.
    side : int
        Side S of the network's square input, in pixels.
    low : int
        Side of the square mask logits, in pixels: a quarter of `side` in published networks.
    history : list of dict
        Steps that led to the weights, see `unsam_cli.run.provenance`.
    identity : str
        Identity of the weights: a hash, or a hub id with its commit.
    dtype : str
        Number format in which the image encoder computes. The decoder always computes in float32,
        because positions of prompts need its precision.
    """

    def __init__(
        self, network: Any, config: PromptableConfig | None = None, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config or PromptableConfig()
        self.family: str = network.config.model_type
        self.side: int = network.config.prompt_encoder_config.image_size
        self.low = 4 * self.side // network.config.prompt_encoder_config.patch_size
        self.first_mask_token = 2 if self.family == "sam2" else 1
        self.history: list[dict[str, Any]] = []
        self.identity = ""
        self.dtype = "float32"
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
