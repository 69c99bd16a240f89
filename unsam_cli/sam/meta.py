"""Original checkpoints of SAM (such as ``sam_vit_h_4b8939.pth``), converted for transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import SamConfig, SamModel

from unsam_cli.backbones.checkpoints import check_fit, read_checkpoint
from unsam_cli.backbones.folder_config import building
from unsam_cli.backbones.soundness import check_state, state_size
from unsam_cli.backbones.wrappers import unwrap
from unsam_cli.errors import CheckpointError
from unsam_cli.sam.meta2 import is_sam2, load_original2

_HEADS = 8  # heads of the decoder in all published models; the tensors do not reveal them

_FIX = "is it an original checkpoint of SAM, sam_vit_{b,l,h}_*.pth?"

_RENAMED = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"^vision_encoder\.patch_embed\.proj\.", "vision_encoder.patch_embed.projection."),
    (r"^vision_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^vision_encoder\.neck\.0\.", "vision_encoder.neck.conv1."),
    (r"^vision_encoder\.neck\.1\.", "vision_encoder.neck.layer_norm1."),
    (r"^vision_encoder\.neck\.2\.", "vision_encoder.neck.conv2."),
    (r"^vision_encoder\.neck\.3\.", "vision_encoder.neck.layer_norm2."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
    (r"^prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"^prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"^prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"^prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"^prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
    (r"^mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"^mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"^mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
)
_PERCEPTRON = re.compile(
    r"^(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d+))\.layers\.(\d+)\."
)
_SAM = ("mask_decoder.iou_token.weight", "image_encoder.patch_embed.proj.weight")
_SAM2 = ("sam_mask_decoder.iou_token.weight", "image_encoder.trunk.patch_embed.proj.weight")
"""Names of tensors in original checkpoints."""
_FREQUENCIES = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"


def load_original(path: Path, content: dict[str, Any] | None = None) -> Any:
    """Load an original checkpoint of SAM or SAM 2.

    Parameters
    ----------
    path : Path
        File with a state dict: of a SAM of any size, or of a published SAM 2.
    content : dict, optional
        Content of the file, if it has been read.

    Returns
    -------
    SamModel or Sam2Model
        On the CPU.

    Raises
    ------
    CheckpointError
        The file is damaged, contains code, or is not such a checkpoint.
    """
    state = original_state(read_checkpoint(path) if content is None else content, path)
    check_state(state, path, integers=False)
    if is_sam2(state):
        return load_original2(state, path)
    try:
        config = _configure(state)
    except KeyError as error:
        raise CheckpointError(
            f"{path}: not a SAM checkpoint, {error} is missing: {_FIX}"
        ) from error
    except (AttributeError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{path}: a SAM checkpoint with invalid sizes, or with values that are not "
            f"tensors: {_FIX}"
        ) from error
    with building(path, state_size(state)):
        network = SamModel(config)
    renamed = _rename(state, int(config.mask_decoder_config.iou_head_depth))
    check_fit(network.state_dict(), renamed, path, _FIX)
    network.load_state_dict(renamed)
    return network


def original_state(content: Mapping[Any, Any], path: Path | None = None) -> dict[str, Any]:
    """Return the state dict of a SAM or SAM 2 from a file; see `unwrap`."""
    first = unwrap(content, _SAM, path)
    return first if _SAM[0] in first else unwrap(content, _SAM2, path)


def _rename(state: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Rename tensors to their names in transformers."""
    renamed = {}
    for old, tensor in state.items():
        if old == _FREQUENCIES:
            renamed["shared_image_embedding.positional_embedding"] = tensor
            renamed["prompt_encoder.shared_embedding.positional_embedding"] = tensor
            continue
        name = old
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        found = _PERCEPTRON.match(name)
        if found:
            layers, index = found[1], int(found[2])
            last = (depth if layers.endswith("head") else 3) - 1
            place = {0: "proj_in", last: "proj_out"}.get(index, f"layers.{index - 1}")
            name = f"{layers}.{place}.{name[found.end() :]}"
        renamed[name] = tensor
    return renamed


def _configure(state: Mapping[str, Tensor]) -> SamConfig:
    """Derive the configuration of the network from the shapes of its tensors."""
    hidden, channels, patch = state["image_encoder.patch_embed.proj.weight"].shape[:3]
    grid = state["image_encoder.pos_embed"].shape[1]
    blocks = _count(state, r"^image_encoder\.blocks\.(\d+)\.")
    reach = [state[f"image_encoder.blocks.{i}.attn.rel_pos_h"].shape[0] for i in range(blocks)]
    windows = {length for length in reach if length != 2 * grid - 1}
    head = state["image_encoder.blocks.0.attn.rel_pos_h"].shape[1]
    width = state["prompt_encoder.no_mask_embed.weight"].shape[1]
    inner = state["mask_decoder.transformer.final_attn_token_to_image.q_proj.weight"].shape[0]
    return SamConfig(
        vision_config={
            "hidden_size": hidden,
            "num_channels": channels,
            "image_size": grid * patch,
            "patch_size": patch,
            "num_hidden_layers": blocks,
            "num_attention_heads": hidden // head,
            "mlp_dim": state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0],
            "global_attn_indexes": [i for i in range(blocks) if reach[i] == 2 * grid - 1],
            "window_size": (windows.pop() + 1) // 2 if windows else 0,
            "output_channels": state["image_encoder.neck.0.weight"].shape[0],
            "num_pos_feats": state[_FREQUENCIES].shape[1],
            "qkv_bias": "image_encoder.blocks.0.attn.qkv.bias" in state,
        },
        prompt_encoder_config={
            "hidden_size": width,
            "image_size": grid * patch,
            "patch_size": patch,
            "mask_input_channels": state["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        },
        mask_decoder_config={
            "hidden_size": width,
            "mlp_dim": state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
            "num_hidden_layers": _count(state, r"^mask_decoder\.transformer\.layers\.(\d+)\."),
            "num_attention_heads": _HEADS,
            "attention_downsample_rate": width // inner,
            "num_multimask_outputs": state["mask_decoder.mask_tokens.weight"].shape[0] - 1,
            "iou_head_depth": _count(state, r"^mask_decoder\.iou_prediction_head\.layers\.(\d+)\."),
            "iou_head_hidden_dim": state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[
                0
            ],
            # As in the original; the conversion of transformers has 1e-6, slightly off.
            "layer_norm_eps": 1e-5,
        },
        torch_dtype=torch.float32,
    )


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Count the distinct numbers that a pattern finds in the names."""
    return len({found[1] for key in state if (found := re.match(pattern, str(key)))})
