"""Weights of vision transformers: local files of several makes, and the hub.

Files are read without running code from them (``weights_only=True``, or safetensors), and what a
file holds must be what the model needs: a checkpoint that fits only in part is refused, not used.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import logging
import math
import pickle
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from timm.models import eva, vision_transformer
from torch import Tensor

from unsam_cli.errors import CheckpointError

logger = logging.getLogger(__name__)

_WRAPPERS = ("teacher", "state_dict_ema", "model_ema", "state_dict", "model", "student")
"""Keys under which training checkpoints keep the network, the best one first."""

_PREFIXES = ("module.", "_orig_mod.", "backbone.")

_UNUSED = ("head", "fc_norm", "norm.", "attn_pool", "decoder", "mask_token", "pre_logits", "proj")
"""Beginnings of names that published checkpoints have and patch features do not need."""

_MAX_NAMES = 3


def load_weights(model: Any, path: Path) -> None:
    """Load a checkpoint file into a timm VisionTransformer or Eva.

    Parameters
    ----------
    model : timm VisionTransformer or Eva
        Takes the size of the checkpoint's position embedding, so that this is interpolated once,
        from the trained grid to the image's.
    path : Path
        As published by DINO (backbone, or whole training state), DINOv2, DINOv3, MAE, CLIP or
        timm; ``.safetensors``, or a PyTorch file of tensors.

    Raises
    ------
    CheckpointError
        The file is damaged, holds code, or does not fit the model.
    """
    state = _unwrap(_read(path))
    _check_patch(model, state, path)
    _adopt_grid(model, state)
    module = eva if isinstance(model, eva.Eva) else vision_transformer
    try:
        # timm prints while it converts some checkpoints; stdout belongs to the data.
        with contextlib.redirect_stdout(io.StringIO()):
            state = module.checkpoint_filter_fn(state, model)
    except (KeyError, RuntimeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{path}: weights cannot be read for this model: {error}") from error
    _check_fit(model, state, path)
    model.load_state_dict(state, strict=False)


def identify(path: Path) -> str:
    """Return ``sha256:`` and the first 16 digits of the hash of a file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint without running code from it."""
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        # DINO keeps its command line in the training state; a Namespace only holds values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: not a file of tensors only, so it is not opened ({reason}): "
            "convert it to safetensors where you trust it"
        ) from error
    except (safetensors.SafetensorError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: damaged checkpoint ({reason}): get it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a state dict")
    return content


def _unwrap(state: dict[str, Any]) -> dict[str, Any]:
    """Return the network's own state dict out of a training checkpoint."""
    while inner := [state[key] for key in _WRAPPERS if isinstance(state.get(key), dict)]:
        state = inner[0]
    while prefixes := [p for p in _PREFIXES if any(str(key).startswith(p) for key in state)]:
        prefix = prefixes[0]
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return state


def _check_patch(model: Any, state: dict[str, Any], path: Path) -> None:
    """Refuse weights of another patch size, which timm would resample silently."""
    weight = state.get("patch_embed.proj.weight")
    patch = tuple(model.patch_embed.patch_size)
    if isinstance(weight, Tensor) and weight.ndim == 4 and tuple(weight.shape[2:]) != patch:
        raise CheckpointError(
            f"{path}: weights for patches of {tuple(weight.shape[2:])} pixels, the model has "
            f"{patch}: choose the --backbone of these weights"
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


def _check_fit(model: Any, state: dict[str, Any], path: Path) -> None:
    """Raise `CheckpointError` naming what is missing, unexpected or of another shape."""
    wanted = {k: v for k, v in model.state_dict().items() if not k.startswith(_UNUSED)}
    found = {k: v for k, v in state.items() if not k.startswith(_UNUSED)}
    shapes = [
        f"{k} {tuple(found[k].shape)} for {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in found and found[k].shape != v.shape
    ]
    problems = [
        _list("missing", [k for k in wanted if k not in found]),
        _list("unexpected", [k for k in found if k not in wanted]),
        _list("of another shape", shapes),
    ]
    if any(problems):
        raise CheckpointError(
            f"{path}: weights do not fit the model: {'; '.join(filter(None, problems))}: "
            "choose the --backbone of these weights"
        )


def _list(what: str, names: list[str]) -> str:
    """Return the count and the first few of `names`, or nothing."""
    if not names:
        return ""
    more = ", ..." if len(names) > _MAX_NAMES else ""
    return f"{len(names)} {what} ({', '.join(names[:_MAX_NAMES])}{more})"
