"""UnSAM's published whole-image checkpoints of detectron2, renamed for Hugging Face.

`docs/convert.md` says where the names come from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from unsam_cli.backbones.checkpoints import check_fit, read_checkpoint
from unsam_cli.backbones.soundness import check_state
from unsam_cli.backbones.wrappers import unwrap
from unsam_cli.errors import CheckpointError, UsageError
from unsam_cli.models.settings import SegmenterConfig

_ENCODER = "model.pixel_level_module.encoder."
_PIXELS = "model.pixel_level_module.decoder."
_QUERIES = "model.transformer_module."
_LAYERS = rf"{_QUERIES}decoder.layers.\1."
_OPTIONAL = (".num_batches_tracked", "criterion.empty_weight")
"""Endings of names that are not learnt and not in every file."""
_SOME = (
    "backbone.stem.conv1.weight",
    "sem_seg_head.predictor.query_feat.weight",
    "sem_seg_head.predictor.static_query.weight",  # the name of older files
    "sem_seg_head.predictor.class_embed.weight",
)
"""Names by which the network is found inside wrappers."""
_PREFIXES = ("module.", "_orig_mod.")

_HEAD = r"sem_seg_head\."
_DEEP = rf"{_HEAD}pixel_decoder\.transformer\.encoder\.layers\.(\d+)\."
_QUERY = rf"{_HEAD}predictor\."
_SELF = rf"{_QUERY}transformer_self_attention_layers\.(\d+)\."
_CROSS = rf"{_QUERY}transformer_cross_attention_layers\.(\d+)\."
_FFN = rf"{_QUERY}transformer_ffn_layers\.(\d+)\."
_RULES = [
    (rf"{_HEAD}pixel_decoder\.input_proj\.", f"{_PIXELS}input_projections."),
    (rf"{_HEAD}pixel_decoder\.transformer\.level_embed$", f"{_PIXELS}level_embed"),
    (rf"{_DEEP}norm1\.", rf"{_PIXELS}encoder.layers.\1.self_attn_layer_norm."),
    (rf"{_DEEP}norm2\.", rf"{_PIXELS}encoder.layers.\1.final_layer_norm."),
    (rf"{_DEEP}linear([12])\.", rf"{_PIXELS}encoder.layers.\1.fc\2."),
    (rf"{_DEEP}self_attn\.", rf"{_PIXELS}encoder.layers.\1.self_attn."),
    (rf"{_HEAD}pixel_decoder\.(adapter|layer)_(\d)\.norm\.", rf"{_PIXELS}\1_\2.1."),
    (rf"{_HEAD}pixel_decoder\.(adapter|layer)_(\d)\.", rf"{_PIXELS}\1_\2.0."),
    (rf"{_HEAD}pixel_decoder\.mask_features\.", f"{_PIXELS}mask_projection."),
    (rf"{_QUERY}query_feat\.", f"{_QUERIES}queries_features."),
    (rf"{_QUERY}query_embed\.", f"{_QUERIES}queries_embedder."),
    (rf"{_QUERY}level_embed\.", f"{_QUERIES}level_embed."),
    (rf"{_SELF}norm\.", f"{_LAYERS}self_attn_layer_norm."),
    (_SELF, _LAYERS),
    (rf"{_CROSS}norm\.", f"{_LAYERS}cross_attn_layer_norm."),
    (rf"{_CROSS}multihead_attn\.", f"{_LAYERS}cross_attn."),
    (rf"{_FFN}norm\.", f"{_LAYERS}final_layer_norm."),
    (rf"{_FFN}linear", f"{_LAYERS}fc"),
    (rf"{_QUERY}decoder_norm\.", f"{_QUERIES}decoder.layernorm."),
    (
        rf"{_QUERY}mask_embed\.layers\.(\d+)\.",
        rf"{_QUERIES}decoder.mask_predictor.mask_embedder.\1.0.",
    ),
    (rf"{_QUERY}class_embed\.", "class_predictor."),
]
"""Prefixes of names in detectron2 and in Hugging Face; the first that matches is used."""


def read_detectron2(path: Path) -> tuple[SegmenterConfig, dict[str, Tensor]]:
    """Read a checkpoint of detectron2's Mask2Former with a ResNet-50.

    Parameters
    ----------
    path : Path
        File saved by the trainer, or a bare state dict.

    Returns
    -------
    config : SegmenterConfig
        With the number of queries and the width that the file has.
    state : dict of tensors
        State dict with the names of ``Mask2FormerForUniversalSegmentation``.

    Raises
    ------
    CheckpointError
        The file is damaged, contains code, or is not such a checkpoint.
    """
    found = unwrap(read_checkpoint(path), _SOME, path, prefixes=_PREFIXES)
    check_state(found, path, integers=False)
    state = _upgrade(found)
    config = _config(state, path)
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        renamed.update(_split(rename(name), tensor))
    return config, renamed


def fit_detectron2(network: Any, state: Mapping[str, Tensor], path: Path) -> None:
    """Load the state dict that `read_detectron2` returned into a network, in place.

    Parameters
    ----------
    network : Mask2FormerForUniversalSegmentation
    state : mapping of str to tensor
        State dict from `read_detectron2`.
    path : Path
        File that `state` comes from, for error messages.

    Raises
    ------
    CheckpointError
        A weight is missing, superfluous or of another shape.
    """
    wanted = network.state_dict()
    filled = {k: v for k, v in wanted.items() if k.endswith(_OPTIONAL)}
    check_fit(wanted, {**filled, **state}, path, "give the whole-image checkpoint of UnSAM")
    network.load_state_dict({**filled, **state})


def rename(name: str) -> str:
    """Return the Hugging Face name of a weight of detectron2, or `name` if no rule matches."""
    if name.startswith("backbone."):
        return _ENCODER + resnet_name(name.removeprefix("backbone."))
    for pattern, target in _RULES:
        renamed, count = re.subn(f"^{pattern}", target, name)
        if count:
            return renamed
    return name


def resnet_name(name: str) -> str:
    """Return the name that a weight of a ResNet has in ``ResNetBackbone`` of transformers.

    Parameters
    ----------
    name : str
        Name in detectron2, in torchvision (also used by DINO and timm) or in transformers.
    """
    name = name.removeprefix("resnet.")
    block = r"^(?:res|layer)(\d)\.(\d+)\."
    # torchvision counts stages from 1, detectron2 from 2 after the stem
    first = 2 if name.startswith("res") else 1

    def layer(rest: str) -> Callable[[re.Match[str]], str]:
        return lambda m: f"encoder.stages.{int(m[1]) - first}.layers.{m[2]}." + m.expand(rest)

    rules: list[tuple[str, Any]] = [
        (r"^stem\.conv1\.norm\.|^bn1\.", "embedder.embedder.normalization."),
        (r"^stem\.conv1\.|^conv1\.", "embedder.embedder.convolution."),
        (rf"{block}(?:shortcut\.norm|downsample\.1)\.", layer("shortcut.normalization.")),
        (rf"{block}(?:shortcut|downsample\.0)\.", layer("shortcut.convolution.")),
    ]
    for conv in (1, 2, 3):
        at = f"layer.{conv - 1}."
        rules += [
            (rf"{block}(?:conv{conv}\.norm|bn{conv})\.", layer(f"{at}normalization.")),
            (rf"{block}conv{conv}\.", layer(f"{at}convolution.")),
        ]
    for pattern, target in rules:
        renamed, count = re.subn(pattern, target, name)
        if count:
            return str(renamed)
    return name


def _upgrade(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Rename the weights of older Mask2Former files to their current names."""
    upgraded = {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            continue
        if name.startswith("sem_seg_head.") and not re.match(
            r"sem_seg_head\.(predictor|pixel_decoder)\.", name
        ):
            name = name.replace("sem_seg_head.", "sem_seg_head.pixel_decoder.", 1)
        upgraded[name.replace(".static_query.", ".query_feat.")] = tensor
    return upgraded


def _config(state: Mapping[str, Tensor], path: Path) -> SegmenterConfig:
    """Read the size of the network off its weights."""
    queries = state.get("sem_seg_head.predictor.query_feat.weight")
    if queries is None or queries.ndim != 2:
        raise CheckpointError(
            f"{path}: not a Mask2Former of detectron2 (sem_seg_head.predictor.query_feat is "
            "missing): give the whole-image checkpoint of UnSAM, or a folder of "
            "transformers"
        )

    # The number of layers is fixed, so that a file without the last ones is refused.
    layers = SegmenterConfig().layers
    count, width = queries.shape
    try:
        return SegmenterConfig(queries=count, hidden=width, decoder_layers=layers)
    except UsageError as error:
        raise CheckpointError(f"{path}: not a valid Mask2Former: {error}") from error


def _split(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Split a packed projection of self-attention; cross-attention stays packed."""
    stem, found, kind = name.partition(".self_attn.in_proj_")
    if not found or not tensor.ndim:
        return {name: tensor}
    parts = zip("qkv", tensor.chunk(3), strict=False)
    # cloned: safetensors does not write parts of one tensor
    return {f"{stem}.self_attn.{letter}_proj.{kind}": part.clone() for letter, part in parts}
