"""Pretrained weights for the backbones of segmenters: local files of several makes, and the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from unsam_cli.backbones.checkpoints import check_fit, read_checkpoint, unwrap
from unsam_cli.backbones.pretrained import load_network
from unsam_cli.backbones.soundness import check_state
from unsam_cli.backbones.vit_hub import fetch_weights, find_source
from unsam_cli.errors import UsageError
from unsam_cli.io.files import file_identity
from unsam_cli.models.detectron2 import resnet_name
from unsam_cli.models.networks import RESNET
from unsam_cli.models.settings import RANDOM, SegmenterConfig

DINO_RESNET = "Ramos-Ramos/dino-resnet-50"
"""The published DINO ResNet-50 under the names of transformers."""
_FIX = "give --backbone-weights FILE"
_COUNTER = ".num_batches_tracked"


def load_backbone(encoder: Any, config: SegmenterConfig, folder: Path | None, seed: int) -> str:
    """Load the weights of the backbone of a new segmenter; return their identity.

    Parameters
    ----------
    encoder : nn.Module
        The backbone: of Hugging Face in a Mask2Former, of timm in a CondInst.
    config : SegmenterConfig
    folder : Path, optional
        Of a Hugging Face backbone, with its weights.
    seed : int
        Of random weights.

    Raises
    ------
    CheckpointError, MissingInputError, WeightsUnavailableError
        The weights do not fit, or cannot be had.
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
    state = unwrap(read_checkpoint(path))
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


def _find(config: SegmenterConfig) -> tuple[Path, str]:
    """Return a file of weights and its identity."""
    source = find_source(config.backbone, config.backbone_weights)
    if isinstance(source, Path):
        return source, file_identity(source)
    if source is None and _is_dino_resnet(config):
        source = DINO_RESNET
    return fetch_weights(config.backbone, source, fix=_FIX)


def _is_dino_resnet(config: SegmenterConfig) -> bool:
    return config.backbone == RESNET and config.architecture == "mask2former"


def _timm_names(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights of a timm classifier as timm does where only features are taken.

    There ``stages.0`` may be ``stages_0``, and all names may begin with ``model.``.
    """
    plain = {name.replace("_", "."): tensor for name, tensor in state.items()}
    found = {}
    for name in wanted:
        key = name.removeprefix("_backbone.").removeprefix("model.").replace("_", ".")
        if key in plain:
            found[name] = plain[key]
    return found
