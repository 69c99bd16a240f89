"""Original checkpoints of SAM 2 and 2.1 (such as ``sam2.1_hiera_large.pt``), for transformers.

Only the weights for images are read, not the memory that tracks objects through a video.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import Sam2Config, Sam2Model

from unsam_cli.backbones.checkpoints import check_fit
from unsam_cli.backbones.folder_config import building
from unsam_cli.backbones.soundness import state_size
from unsam_cli.errors import CheckpointError

_FIX = "is it an original checkpoint of SAM 2, sam2*_hiera_{tiny,small,base_plus,large}.pt?"


class _Trunk(NamedTuple):
    """Settings of a published Hiera that the tensors do not reveal."""

    heads: int
    windows: tuple[int, int, int, int]
    whole: tuple[int, int, int]  # blocks that see the whole image


_TRUNKS: dict[tuple[int, tuple[int, ...]], _Trunk] = {
    (96, (1, 2, 7, 2)): _Trunk(1, (8, 4, 14, 7), (5, 7, 9)),
    (96, (1, 2, 11, 2)): _Trunk(1, (8, 4, 14, 7), (7, 10, 13)),
    (112, (2, 3, 16, 3)): _Trunk(2, (8, 4, 14, 7), (12, 16, 20)),
    (144, (2, 6, 36, 4)): _Trunk(2, (8, 4, 16, 8), (23, 33, 43)),
}
"""Settings by the width of the first stage and the number of blocks of each stage."""

_VIDEO = re.compile(
    r"memory_attention\.|memory_encoder\.|mask_downsample\.|obj_ptr_|maskmem_tpos_enc$"
    r"|no_mem_pos_enc$|no_obj_"
)
_RENAMED = (
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"(_attn|_to_token|_to_image)\.out_proj\.", r"\1.o_proj."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    # Perceptrons of three layers.
    (r"(_head|_mlps\.\d+)\.layers\.0\.", r"\1.proj_in."),
    (r"(_head|_mlps\.\d+)\.layers\.1\.", r"\1.layers.0."),
    (r"(_head|_mlps\.\d+)\.layers\.2\.", r"\1.proj_out."),
)  # fmt: skip
_FREQUENCIES = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
_POINTS = [f"sam_prompt_encoder.point_embeddings.{i}.weight" for i in range(4)]
_BLOCK = "image_encoder.trunk.blocks"


def is_sam2(state: Mapping[str, Any]) -> bool:
    """Return whether a state dict has the names of SAM 2."""
    return any(str(name).startswith("image_encoder.trunk.") for name in state)


def load_original2(state: Mapping[str, Tensor], path: Path) -> Any:
    """Create a network from the state dict of an original checkpoint of SAM 2.

    Parameters
    ----------
    state : dict of tensors
    path : Path
        File that it comes from, for error messages.

    Returns
    -------
    Sam2Model
        On the CPU.

    Raises
    ------
    CheckpointError
        The state dict is incomplete, or belongs to no published network.
    """
    try:
        config = _configure(state, path)
        renamed = _rename(state)
    except KeyError as error:
        raise CheckpointError(
            f"{path}: not a SAM 2 checkpoint, {error} is missing: {_FIX}"
        ) from error
    except CheckpointError:
        raise
    except (AttributeError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{path}: a SAM 2 checkpoint with invalid sizes, or with values that are not "
            f"tensors: {_FIX}"
        ) from error
    with building(path, state_size(state)):
        network = Sam2Model(config)
    check_fit(network.state_dict(), renamed, path, _FIX)
    network.load_state_dict(renamed)
    return network


def _rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors to their names in transformers."""
    frequencies = state[_FREQUENCIES]
    renamed = {
        "shared_image_embedding.positional_embedding": frequencies,
        "prompt_encoder.shared_embedding.positional_embedding": frequencies,
        "prompt_encoder.point_embed.weight": torch.cat([state[name] for name in _POINTS]),
    }
    for old, tensor in state.items():
        if old == _FREQUENCIES or old in _POINTS or _VIDEO.match(old):
            continue
        name = old
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def _configure(state: Mapping[str, Tensor], path: Path) -> Sam2Config:
    """Derive the configuration of the network from the shapes of its tensors."""
    width = state["image_encoder.trunk.patch_embed.proj.weight"].shape[0]
    blocks = len({m[1] for key in state if (m := re.match(_BLOCK + r"\.(\d+)\.", key))})
    # A stage begins where a block changes the width.
    starts = [0, *(i for i in range(blocks) if f"{_BLOCK}.{i}.proj.weight" in state), blocks]
    stages = tuple(end - start for start, end in itertools.pairwise(starts))
    trunk = _TRUNKS.get((width, stages))
    if trunk is None:
        raise CheckpointError(
            f"{path}: SAM 2 with width {width} and {blocks} blocks is not a published "
            "model: give its transformers folder"
        )
    hidden = state["image_encoder.neck.convs.0.conv.weight"].shape[0]
    widths = [width * 2**i for i in range(4)]
    decoder = "sam_mask_decoder"
    inner = state[f"{decoder}.transformer.final_attn_token_to_image.q_proj.weight"].shape[0]
    return Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": width,
                "num_attention_heads": trunk.heads,
                "blocks_per_stage": list(stages),
                "embed_dim_per_stage": widths,
                "num_attention_heads_per_stage": [trunk.heads * 2**i for i in range(4)],
                "window_size_per_stage": list(trunk.windows),
                "global_attention_blocks": list(trunk.whole),
                "window_positional_embedding_background_size": list(
                    state["image_encoder.trunk.pos_embed"].shape[2:]
                ),
            },
            "backbone_channel_list": widths[::-1],
            "fpn_hidden_size": hidden,
        },
        prompt_encoder_config={"hidden_size": hidden},
        mask_decoder_config={
            "hidden_size": hidden,
            "mlp_dim": state[f"{decoder}.transformer.layers.0.mlp.layers.0.weight"].shape[0],
            "attention_downsample_rate": hidden // inner,
            "iou_head_hidden_dim": state[f"{decoder}.iou_prediction_head.layers.0.weight"].shape[0],
        },
    )
