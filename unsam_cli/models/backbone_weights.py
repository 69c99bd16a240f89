"""Pretrained weights for the backbones of segmenters, from local files and from the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from unsam_cli.backbones.checkpoints import check_fit, read_checkpoint
from unsam_cli.backbones.pretrained import load_network
from unsam_cli.backbones.soundness import check_state
from unsam_cli.backbones.vit_hub import fetch_weights, find_source
from unsam_cli.backbones.wrappers import unwrap
from unsam_cli.errors import UsageError
from unsam_cli.io.files import file_identity
from unsam_cli.models.detectron2 import resnet_name
from unsam_cli.models.networks import RESNET
from unsam_cli.models.settings import RANDOM, SegmenterConfig

DINO_RESNET = "Ramos-Ramos/dino-resnet-50"
"""The published DINO ResNet-50 under the names of transformers."""
_FIX = "give --backbone-weights FILE"
_RESNET = ("layer1.0.conv1.weight", "layer4.0.conv3.weight")
_COUNTER = ".num_batches_tracked"


def load_backbone(encoder: Any, config: SegmenterConfig, folder: Path | None, seed: int) -> str:
    """Load pretrained weights into the backbone of a new segmenter, in place.

    Parameters
    ----------
    encoder : nn.Module
        The backbone: a Hugging Face module in Mask2Former, a timm module in CondInst.
    config : SegmenterConfig
    folder : Path or None
        Folder of a Hugging Face backbone that includes its weights.
    seed : int
        Seed that the random weights were drawn with; only recorded in the identity.

    Returns
    -------
    str
        Identity of the weights: ``random:SEED``, a hash, or a hub id with its commit. Empty if
        `folder` is given, whose identity the caller knows.

    Raises
    ------
    UsageError
        Both `folder` and ``config.backbone_weights`` are given.
    CheckpointError, MissingInputError, WeightsUnavailableError
        The weights do not fit the backbone, do not exist, or cannot be downloaded.
    """
    weights = config.backbone_weights
    if weights == RANDOM:
        return f"random:{seed}"
    if folder is not None:
        if weights is not None:
            raise UsageError(
                f"--backbone {config.backbone} includes its weights: remove --backbone-weights"
            )
        source = load_network(type(encoder), folder, whole=False, config=encoder.config)
        encoder.load_state_dict(source.state_dict())
        return ""  # the hub's identity is known to the caller
    path, identity = _find(config)
    state = unwrap(read_checkpoint(path), _names(config, encoder.state_dict()), path)
    check_state(state, path)
    if _is_dino_resnet(config):
        fitted = {resnet_name(k): v for k, v in state.items() if not k.startswith(("fc.", "head"))}
    else:
        fitted = _timm_names(encoder.state_dict(), state)
    counters = {k: v for k, v in encoder.state_dict().items() if k.endswith(_COUNTER)}
    fitted = {**fitted, **counters}
    check_fit(encoder.state_dict(), fitted, path, "give weights of the --backbone")
    encoder.load_state_dict(fitted)
    return identity


def _names(config: SegmenterConfig, wanted: Mapping[str, Tensor]) -> list[str]:
    """Return names that weights of a backbone have in files, before they are renamed."""
    if _is_dino_resnet(config):
        return list(_RESNET)
    return [name.removeprefix("_backbone.").removeprefix("model.") for name in wanted]


def _find(config: SegmenterConfig) -> tuple[Path, str]:
    """Return a file with weights and its identity."""
    source = find_source(config.backbone, config.backbone_weights)
    if isinstance(source, Path):
        return source, file_identity(source)
    if source is None and _is_dino_resnet(config):
        source = DINO_RESNET
    return fetch_weights(config.backbone, source, fix=_FIX)


def _is_dino_resnet(config: SegmenterConfig) -> bool:
    return config.backbone == RESNET and config.architecture == "mask2former"


def _timm_names(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights of a timm classifier to the names of its features-only network.

    There, ``stages.0`` may be ``stages_0``, and all names may begin with ``model.``.
    """
    plain = {name.replace("_", "."): tensor for name, tensor in state.items()}
    found = {}
    for name in wanted:
        key = name.removeprefix("_backbone.").removeprefix("model.").replace("_", ".")
        if key in plain:
            found[name] = plain[key]
    return found
