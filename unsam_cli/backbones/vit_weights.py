"""Weights of vision transformers from checkpoint files of several formats."""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timm.models import eva, vision_transformer
from torch import Tensor

from unsam_cli.backbones.checkpoints import check_fit, read_checkpoint
from unsam_cli.backbones.soundness import check_kind, check_state
from unsam_cli.backbones.wrappers import unwrap
from unsam_cli.errors import CheckpointError

logger = logging.getLogger(__name__)

_UNUSED = ("head", "fc_norm", "norm.", "attn_pool", "decoder", "mask_token", "pre_logits", "proj")
"""Prefixes of weights in published checkpoints that patch features do not need."""


def load_weights(model: Any, path: Path) -> None:
    """Load a checkpoint file into a timm VisionTransformer or Eva.

    Parameters
    ----------
    model : timm VisionTransformer or Eva
        Changed in place. It gets the grid of the checkpoint's position embedding, which is then
        interpolated only once, to the grid of the image.
    path : Path
        Checkpoint published by DINO (backbone, or whole training state), DINOv2, DINOv3, MAE, CLIP
        or timm: ``.safetensors``, or a PyTorch file of tensors.

    Raises
    ------
    CheckpointError
        The file is damaged, contains code, or does not fit the model.
    """
    state = unwrap(read_checkpoint(path), _needed(model.state_dict()), path)
    check_state(_needed(state), path)
    for name in model.state_dict().keys() & state.keys():
        if not isinstance(state[name], Tensor):
            check_kind(name, state[name], path)
    fix = "choose the --backbone of these weights"
    _check_patch(model, state, path)
    _adopt_grid(model, state)
    module = eva if isinstance(model, eva.Eva) else vision_transformer
    try:
        # timm prints while it converts some checkpoints; stdout belongs to the data.
        with contextlib.redirect_stdout(io.StringIO()):
            state = module.checkpoint_filter_fn(state, model)
    # timm converts other projects' files by their names, and does not check the content.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"{path}: weights cannot be read for this model ({reason}): {fix}"
        ) from error
    check_fit(_needed(model.state_dict()), _needed(state), path, fix)
    model.load_state_dict(state, strict=False)


def _check_patch(model: Any, state: dict[str, Any], path: Path) -> None:
    """Refuse weights of another patch size, which timm would resample silently."""
    weight = state.get("patch_embed.proj.weight")
    patch = tuple(model.patch_embed.patch_size)
    if isinstance(weight, Tensor) and weight.ndim == 4 and tuple(weight.shape[2:]) != patch:
        raise CheckpointError(
            f"{path}: the weights are for patches of {tuple(weight.shape[2:])} pixels, but "
            f"the model has patches of {patch}: choose the --backbone of these weights"
        )


def _adopt_grid(model: Any, state: dict[str, Any]) -> None:
    """Give the model the square grid of the checkpoint's position embedding, if it has one."""
    embedding = state.get("pos_embed")
    if not isinstance(embedding, Tensor) or embedding.ndim != 3 or model.pos_embed is None:
        return
    for prefix in {0, 1, int(model.num_prefix_tokens)}:
        side = math.isqrt(max(embedding.shape[1] - prefix, 0))
        if side and side * side == embedding.shape[1] - prefix:
            if (side, side) != tuple(model.patch_embed.grid_size):
                patch = model.patch_embed.patch_size
                model.set_input_size(img_size=(side * patch[0], side * patch[1]))
            return


def _needed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that patch features need."""
    return {k: v for k, v in state.items() if not k.startswith(_UNUSED)}
