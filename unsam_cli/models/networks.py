"""Hugging Face networks built from our settings with random weights, and the way back."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    EomtConfig,
    EomtForUniversalSegmentation,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    ResNetConfig,
    TimmBackboneConfig,
)

from unsam_cli.backbones.folder_config import building, quiet, read_any_config
from unsam_cli.errors import CheckpointError, UsageError
from unsam_cli.models.condinst import CondInst
from unsam_cli.models.settings import CONDINST, SegmenterConfig

NETWORKS = {
    "mask2former": Mask2FormerForUniversalSegmentation,
    "eomt": EomtForUniversalSegmentation,
}
RESNET = "resnet50"
_HEADS = 8
_MOST_BYTES = 2**35
"""Maximum size of a network that the configuration of a backbone may ask for."""
_STRIDES = [4, 8, 16, 32]


def create_mask2former(config: SegmenterConfig, folder: Path | None = None) -> Any:
    """Create a Mask2Former with random weights.

    Parameters
    ----------
    config : SegmenterConfig
    folder : Path, optional
        Folder with the configuration of a Hugging Face backbone.

    Returns
    -------
    Mask2FormerForUniversalSegmentation
        On the CPU, in training mode.

    Raises
    ------
    UsageError
        The backbone is unknown, does not accept images of arbitrary size, or has no features at
        strides 4, 8, 16 and 32.
    CheckpointError
        The configuration in `folder` is invalid.
    """
    backbone = _backbone_config(config.backbone, folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet())
        if folder is not None:
            stack.enter_context(building(folder, _MOST_BYTES))
        network = Mask2FormerForUniversalSegmentation(
            Mask2FormerConfig(
                backbone_config=backbone,
                num_labels=1,
                num_queries=config.queries,
                hidden_dim=config.hidden,
                feature_size=config.hidden,
                mask_feature_size=config.hidden,
                encoder_feedforward_dim=4 * config.hidden,
                dim_feedforward=8 * config.hidden,
                num_attention_heads=_HEADS,
                encoder_layers=config.pixel_layers,
                decoder_layers=config.layers + 1,  # counts the prediction of queries alone
            )
        )
    if config.backbone != RESNET:
        _check_maps(network.model.pixel_level_module.encoder, config.backbone)
    return network


def create_eomt(config: SegmenterConfig, vit: Any) -> Any:
    """Create an EoMT with random weights and the dimensions of a vision transformer.

    Parameters
    ----------
    config : SegmenterConfig
    vit : timm VisionTransformer

    Returns
    -------
    EomtForUniversalSegmentation

    Raises
    ------
    UsageError
        The transformer has too few blocks, or the image size is not a multiple of its patch size.
    """
    patch = int(vit.patch_embed.patch_size[0])
    width, depth = int(vit.embed_dim), len(vit.blocks)
    if config.layers > depth:
        raise UsageError(f"{config.backbone} has {depth} blocks, not {config.layers}")
    if config.image_size % patch:
        raise UsageError(
            f"image_size {config.image_size} is not a multiple of the patch size, {patch}"
        )
    return EomtForUniversalSegmentation(
        EomtConfig(
            num_labels=1,
            num_queries=config.queries,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=vit.blocks[0].attn.num_heads,
            mlp_ratio=vit.blocks[0].mlp.fc1.out_features // width,
            patch_size=patch,
            image_size=config.image_size,
            num_blocks=config.layers,
            num_register_tokens=vit.num_prefix_tokens - 1,
            num_upscale_blocks=max(1, round(math.log2(patch)) - 2),  # features at stride 4
        )
    )


def config_of(network: Any) -> SegmenterConfig:
    """Derive our settings from a network that was created elsewhere.

    Parameters
    ----------
    network : Mask2FormerForUniversalSegmentation, EomtForUniversalSegmentation or CondInst

    Raises
    ------
    CheckpointError
        The network is a Mask2Former with normalisation before attention.
    """
    config = network.config
    if isinstance(network, CondInst):
        return SegmenterConfig(
            architecture=CONDINST,
            backbone=config.backbone,
            queries=config.queries,
            hidden=config.hidden,
        )
    if config.model_type == "eomt":
        return SegmenterConfig(
            architecture="eomt",
            backbone="eomt",
            queries=config.num_queries,
            decoder_layers=config.num_blocks,
            short_side=config.image_size,
            longest_side=config.image_size,
        )
    if config.pre_norm:
        raise CheckpointError("Mask2Former with normalisation before attention is not supported")
    backbone = config.backbone_config
    return SegmenterConfig(
        backbone=getattr(backbone, "backbone", None) or backbone.model_type,
        queries=config.num_queries,
        hidden=config.hidden_dim,
        pixel_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers - 1,
    )


def _backbone_config(name: str, folder: Path | None) -> Any:
    if folder is not None:
        config = read_any_config(folder)
        names = getattr(config, "stage_names", [])
        if len(names) < len(_STRIDES):
            raise UsageError(f"{name} is not a backbone with features at several strides")
        config.out_features = names[-len(_STRIDES) :]
        return config
    if name == RESNET:
        return ResNetConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
    return TimmBackboneConfig(backbone=name, out_indices=stages(name))


def stages(name: str) -> Sequence[int]:
    """Return the indices of a timm network's features at strides 4, 8, 16 and 32.

    Raises
    ------
    UsageError
        `name` is unknown to timm, or the network has no features at these strides.
    """
    import timm

    try:
        network = timm.create_model(name, pretrained=False, features_only=True)
    # timm passes on whatever its networks raise.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{name} cannot be a backbone: {reason}") from error
    strides = list(network.feature_info.reduction())
    if any(stride not in strides for stride in _STRIDES):
        raise UsageError(
            f"{name} has features at strides {strides}, not {_STRIDES}: choose a "
            "hierarchical network, or use --architecture eomt for a plain vision "
            "transformer"
        )
    return [strides.index(stride) for stride in _STRIDES]


def _check_maps(encoder: Any, name: str) -> None:
    """Run a small image: some networks take one size only, or have channels last."""
    try:
        with torch.no_grad():
            maps = encoder.eval()(torch.zeros(1, 3, 64, 96)).feature_maps
    # timm asserts.
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{name} does not accept images of arbitrary size: {reason}") from error
    finally:
        encoder.train()
    wanted = [(1, c, 64 // s, 96 // s) for c, s in zip(encoder.channels, _STRIDES, strict=True)]
    if [tuple(x.shape) for x in maps] != wanted:
        raise UsageError(f"{name} has features {[tuple(x.shape) for x in maps]}, not {wanted}")
