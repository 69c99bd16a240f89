"""The network of a promptable segmenter, and the parts that are added to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from unsam_cli.sam.granularity import GranularityPrompt
from unsam_cli.sam.settings import SAM_MASKS, PromptableConfig
from unsam_cli.sam.tokens import MaskTokens


class Granularity(nn.Module):
    """The two ends of granularity: a token that asks, and a token that answers."""

    def __init__(self, decoder: Any, generator: torch.Generator) -> None:
        super().__init__()
        self.prompt = GranularityPrompt(decoder.hidden_size, generator)
        self.output = MaskTokens(decoder, [0], generator)


class PromptableParts(nn.Module):
    """A network of Hugging Face behind one interface, and new parts beside it.

    Parameters
    ----------
    network : SamModel or Sam2Model
    config : PromptableConfig
        What is added. Nothing is by default, and the model is exactly the network.
    seed : int
        Of new parts.

    Attributes
    ----------
    family : {"sam", "sam2"}
    side : int
        Of the network's square input, pixels.
    low : int
        Of the masks it gives.
    history : list of dict
        Steps that led to the weights, see `unsam_cli.run.provenance`.
    identity : str
        What the weights are: a hash, or a hub id with its commit.
    dtype : str
        What the image encoder computes in. Positions of prompts need all their digits, so that
        the decoder computes in float32.
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
        """Mask tokens that SAM does not have."""
        new = [self.levels, self.granularity.output if self.granularity else None]
        return [tokens for tokens in new if tokens is not None]

    @property
    def hypernetworks(self) -> list[nn.Module]:
        """What makes weights out of every mask token, SAM's own first."""
        own = self.network.mask_decoder.output_hypernetworks_mlps
        return [*own, *(module for new in self.new_masks for module in new.hypernetworks)]
