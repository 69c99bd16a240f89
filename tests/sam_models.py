"""Small promptable networks with random weights, and a small original SAM."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel

SIDE = 128


def make_sam(
    hidden: int = 32, side: int = SIDE, *, gain: float = 1.5, frequency: float | None = None
) -> Any:
    """SAM with two layers; its weights are strong enough for its masks to have shapes.

    With ``gain=1, frequency=0.5`` it learns to see where a click is within 300 steps of AdamW at
    5e-3; with the initial values of transformers it does not in 600.
    """
    torch.manual_seed(0)
    config = SamConfig(
        vision_config={
            "hidden_size": 32,
            "output_channels": hidden,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": side,
            "patch_size": 16,
            "window_size": 3,
            "global_attn_indexes": [1],
            "num_pos_feats": hidden // 2,
        },
        prompt_encoder_config={
            "hidden_size": hidden,
            "image_size": side,
            "patch_size": 16,
            "mask_input_channels": 8,
        },
        mask_decoder_config={
            "hidden_size": hidden,
            "mlp_dim": 64,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 32,
        },
    )
    network = strengthen(SamModel(config).eval(), gain)
    if frequency is not None:
        draw = torch.Generator().manual_seed(2)
        with torch.no_grad():
            frequencies = network.shared_image_embedding.positional_embedding
            frequencies.copy_(torch.randn(frequencies.shape, generator=draw) * frequency)
            network.prompt_encoder.shared_embedding.positional_embedding.copy_(frequencies)
    return network


def make_sam2(side: int = SIDE) -> Any:
    """SAM 2 with a block a stage."""
    torch.manual_seed(0)
    width = 32
    config = Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 16,
                "image_size": [side, side],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [16, 32, 64, 128],
                "num_attention_heads_per_stage": [1, 1, 2, 4],
                "window_size_per_stage": [4, 2, 4, 2],
                "global_attention_blocks": [3],
                "window_positional_embedding_background_size": [4, 4],
            },
            "backbone_channel_list": [128, 64, 32, 16],
            "backbone_feature_sizes": [[side // k, side // k] for k in (4, 8, 16)],
            "fpn_hidden_size": width,
        },
        prompt_encoder_config={"hidden_size": width, "image_size": side, "mask_input_channels": 8},
        mask_decoder_config={
            "hidden_size": width,
            "mlp_dim": 64,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 32,
        },
    )
    return strengthen(Sam2Model(config).eval())


def make_original(side: int = SIDE, hidden: int = 64, whole: tuple[int, ...] = (1,)) -> Any:
    """Build SAM from the classes of segment-anything; layers `whole` see the whole image."""
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    torch.manual_seed(0)
    grid = side // 16
    sam = Sam(
        image_encoder=ImageEncoderViT(
            depth=3,
            embed_dim=48,
            img_size=side,
            mlp_ratio=2,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            num_heads=4,
            patch_size=16,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=whole,
            window_size=3,
            out_chans=hidden,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=hidden,
            image_embedding_size=(grid, grid),
            input_image_size=(side, side),
            mask_in_chans=8,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=hidden, mlp_dim=96, num_heads=8),
            transformer_dim=hidden,
            iou_head_depth=3,
            iou_head_hidden_dim=40,
        ),
    )
    return strengthen(sam.eval())


def strengthen(network: Any, gain: float = 1.5) -> Any:
    """Replace all weights by random ones, wide enough that outputs differ from place to place."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim > 1 and "positional_embedding" not in name:
                size = gain / weight[0].numel() ** 0.5
                weight.copy_(torch.randn(weight.shape, generator=generator) * size)
            elif name.endswith("bias"):
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return network


def picture(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Smooth random colours."""
    rng = np.random.default_rng(seed)
    small = torch.from_numpy(rng.random((1, 3, 7, 9)))
    large = torch.nn.functional.interpolate(small, (height, width), mode="bicubic")
    return (large[0].clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()


def discs(points: torch.Tensor, side: int, low: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Answer clicks (P, 1, 2) with three wobbly discs each: logits (P, 3, low, low) and scores.

    Stands in for a trained decoder: random weights give masks that are all over the image.
    """
    y, x = torch.meshgrid(*[torch.arange(low) * (side / low)] * 2, indexing="ij")
    x0, y0 = points[:, 0, :, None, None].float().unbind(1)
    apart, angle = torch.hypot(x - x0, y - y0), torch.atan2(y - y0, x - x0)
    radii = side * torch.tensor([0.05, 0.11, 0.2])[:, None, None]
    wobble = 1 + 0.2 * torch.sin(3 * angle + x0 / side * 20)
    logits = (radii * wobble[:, None] - apart[:, None]) * (320 / side)
    scores = 0.75 + 0.25 * torch.sin(points[:, 0].sum(1)[:, None] * torch.tensor([1.3, 2.1, 3.7]))
    return logits, scores.float()


def answer_with_discs(original: Any, model: Any, monkeypatch: Any) -> None:
    """Let an original SAM and our model both answer with `discs`."""
    asked: list[torch.Tensor] = []
    encode = original.prompt_encoder.forward

    def remember(points: Any, boxes: Any, masks: Any) -> Any:
        asked[:] = [points[0]]
        return encode(points, boxes, masks)

    def answer(**_: Any) -> Any:
        return discs(asked[0], model.side, model.low)

    class Found:
        def __init__(self, _: Any, prompts: Any, **__: Any) -> None:
            self.made, self.scores = discs(prompts.points, model.side, model.low)

        def logits(self, rows: torch.Tensor) -> torch.Tensor:
            return self.made[rows]

    monkeypatch.setattr(original.prompt_encoder, "forward", remember)
    monkeypatch.setattr(original.mask_decoder, "forward", answer)
    monkeypatch.setattr(model, "attend", Found)
