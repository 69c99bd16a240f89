"""UnSAM's promptable network: a Swin transformer, a pixel decoder, and a decoder of clicks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers import SwinBackbone, SwinConfig

from unsam_cli.sam.semantic.clicks import Answers, ClickDecoder
from unsam_cli.sam.semantic.config import SemanticConfig
from unsam_cli.sam.semantic.pyramid import PixelDecoder, Pyramid


class SemanticNetwork(nn.Module):
    """The network of UnSAM's promptable checkpoints.

    Parameters
    ----------
    config : SemanticConfig, optional
        By default that of the published checkpoints.

    References
    ----------
    Li et al., "Semantic-SAM: Segment and Recognize Anything at Any Granularity", ECCV 2024; X. Wang
    et al., "Segment Anything without Supervision", NeurIPS 2024, section 4.1.
    """

    def __init__(self, config: SemanticConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SemanticConfig()
        self.backbone = create_backbone(config)
        self.pixels = PixelDecoder(config)
        self.clicks = ClickDecoder(config)

    def encode(
        self, pixels: Tensor, precision: AbstractContextManager[Any] | None = None
    ) -> Pyramid:
        """Run all that does not depend on clicks.

        Parameters
        ----------
        pixels : (B, 3, H, W) float32 tensor
            RGB, normalised; H and W are multiples of 32. Padding, right and below, is zero.
        precision : context manager, optional
            Around the backbone; the pixel decoder always computes in float32, as in the original.
        """
        with precision or nullcontext():
            maps = self.backbone(pixels).feature_maps
        with torch.autocast(pixels.device.type, enabled=False):
            pyramid: Pyramid = self.pixels([x.to(self.pixels.mask_features.weight) for x in maps])
        return pyramid

    def answer(
        self,
        pyramid: Pyramid,
        boxes: Tensor,
        *,
        apart: bool = True,
        kind: int = 0,
        deep: bool = False,
    ) -> Answers:
        """Answer clicks on one image; parameters are those of :meth:`ClickDecoder.forward`."""
        with torch.autocast(boxes.device.type, enabled=False):
            found: Answers = self.clicks(pyramid, boxes, apart=apart, kind=kind, deep=deep)
        return found


def create_backbone(config: SemanticConfig) -> Any:
    """Create a ``SwinBackbone`` of transformers with random weights."""
    backbone: Any = SwinBackbone(
        SwinConfig(
            embed_dim=config.embed,
            depths=list(config.depths),
            num_heads=list(config.heads),
            window_size=config.window,
            drop_path_rate=0.0,
            layer_norm_eps=1e-5,
            out_features=["stage1", "stage2", "stage3", "stage4"],
        )
    )
    # Some releases of transformers have a last normalisation that nothing reads.
    inner = getattr(backbone, "swin", backbone)
    if hasattr(inner, "layernorm"):
        inner.layernorm = nn.Identity()
    return backbone
