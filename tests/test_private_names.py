"""What the networks use of timm and transformers that no release of theirs promises to keep.

The forward passes call the modules of these libraries one by one. When a new release fails here,
read its changes, adapt the file that is named, and only then raise the bounds in pyproject.toml.
"""

from __future__ import annotations

import inspect
import re
import tomllib
from importlib.metadata import version
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pytest
import timm
from sam_models import make_sam, make_sam2
from segmenter_models import make_segmenter

pytestmark = pytest.mark.torch

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
Names = dict[str, str]

# The place of a module inside the network, and what is used of it.
VIT: Names = {
    "": "_pos_embed blocks embed_dim norm norm_pre num_prefix_tokens patch_embed",
    "patch_embed": "dynamic_feat_size patch_size proj",
    "blocks.0": "attn mlp norm1",
    "blocks.0.attn": "qkv",
}
EVA: Names = {
    "": "_pos_embed blocks norm_pre num_prefix_tokens rope",
    "blocks.0.attn": "qkv q_bias k_bias v_bias",
}
MASK2FORMER: Names = {
    "": "class_predictor model",
    "model": "pixel_level_module transformer_module",
    "model.pixel_level_module": "decoder encoder",
    "model.pixel_level_module.decoder": "encoder input_projections lateral_convolutions level_embed"
    " mask_projection num_fpn_levels output_convolutions position_embedding",
    "model.pixel_level_module.decoder.encoder": "get_reference_points layers",
    "model.pixel_level_module.decoder.encoder.layers.0": "activation_fn fc1 fc2 final_layer_norm"
    " self_attn self_attn_layer_norm",
    "model.pixel_level_module.decoder.encoder.layers.0.self_attn": "attention_weights n_heads"
    " n_levels n_points output_proj sampling_offsets value_proj",
    "model.transformer_module": "decoder input_projections level_embed position_embedder"
    " queries_embedder queries_features",
    "model.transformer_module.decoder": "layernorm layers mask_predictor",
    "model.transformer_module.decoder.mask_predictor": "mask_embedder",
    "model.transformer_module.decoder.layers.0": "activation_fn cross_attn cross_attn_layer_norm"
    " fc1 fc2 final_layer_norm self_attn self_attn_layer_norm",
    "model.transformer_module.decoder.layers.0.cross_attn": "in_proj_bias in_proj_weight num_heads"
    " out_proj",
    "model.transformer_module.decoder.layers.0.self_attn": "k_proj num_heads out_proj q_proj"
    " v_proj",
}
EOMT: Names = {
    "": "attn_mask_probs class_predictor embeddings grid_size layernorm layers mask_head query"
    " upscale_block",
    "embeddings": "cls_token patch_embeddings position_embeddings register_tokens",
    "embeddings.patch_embeddings": "projection",
}
SAM_DECODER = (
    "activation hidden_size iou_prediction_head iou_token mask_tokens num_mask_tokens"
    " output_hypernetworks_mlps transformer upscale_conv1 upscale_conv2 upscale_layer_norm"
)
_ATTENTION = "k_proj num_attention_heads q_proj scaling v_proj"
_TWO_WAY: Names = {
    "mask_decoder.transformer": "final_attn_token_to_image layer_norm_final_attn layers",
    "mask_decoder.transformer.layers.0": "cross_attn_image_to_token cross_attn_token_to_image"
    " layer_norm1 layer_norm2 layer_norm3 layer_norm4 mlp self_attn skip_first_layer_pe",
}
SAM: Names = {
    "": "get_image_wide_positional_embeddings mask_decoder prompt_encoder vision_encoder",
    "mask_decoder": SAM_DECODER,
    **_TWO_WAY,
    "mask_decoder.transformer.final_attn_token_to_image": f"{_ATTENTION} out_proj",
}
SAM2: Names = {
    "": "backbone_feature_sizes get_image_features get_image_wide_positional_embeddings"
    " mask_decoder no_memory_embedding prompt_encoder",
    "mask_decoder": f"{SAM_DECODER} _dynamic_multimask_via_stability conv_s0 conv_s1"
    " dynamic_multimask_via_stability obj_score_token",
    **_TWO_WAY,
    "mask_decoder.transformer.final_attn_token_to_image": f"{_ATTENTION} o_proj",
}


def eva_with_rotary_positions() -> Any:
    """Make an EVA-02 of one block."""
    return timm.create_model("eva02_tiny_patch14_224", depth=1, num_classes=0)


def the_vit() -> Any:
    return timm.create_model("test_vit", num_classes=0, dynamic_img_size=True)


def missing(network: Any, names: Names) -> list[str]:
    """List what a network lacks, as places in it."""
    lacking = []
    for place, wanted in names.items():
        try:
            module = network.get_submodule(place)
        except AttributeError:
            lacking.append(place)
            continue
        lacking += [f"{place}.{n}".strip(".") for n in wanted.split() if not hasattr(module, n)]
    return lacking


CASES = {
    "vit": (the_vit, VIT, "timm", "unsam_cli/backbones/vit_facets.py"),
    "eva": (eva_with_rotary_positions, EVA, "timm", "unsam_cli/backbones/vit_facets.py"),
    "mask2former": (
        lambda: make_segmenter("mask2former").network,
        MASK2FORMER,
        "transformers",
        "unsam_cli/models/pixel_decoder.py, query_decoder.py and unsam_cli/deformable.py",
    ),
    "eomt": (
        lambda: make_segmenter("eomt").network,
        EOMT,
        "transformers",
        "unsam_cli/models/eomt.py",
    ),
    "sam": (make_sam, SAM, "transformers", "unsam_cli/sam/decoding.py and folded.py"),
    "sam2": (make_sam2, SAM2, "transformers", "unsam_cli/sam/model.py, decoding.py and folded.py"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_parts_of_networks_have_their_names(case: str) -> None:
    make, names, library, where = CASES[case]
    lacking = missing(make(), names)
    assert not lacking, f"{library} {version(library)} has no {', '.join(lacking)}: adapt {where}"


def test_a_part_that_is_missing_is_named() -> None:
    network = the_vit()
    assert missing(network, {"": "blocks banana", "blocks.99": "attn"}) == ["banana", "blocks.99"]


@pytest.mark.parametrize("module", ["eva", "vision_transformer"])
def test_timm_converts_checkpoints_of_others(module: str) -> None:
    found = getattr(getattr(timm.models, module), "checkpoint_filter_fn", None)
    reason = f"timm.models.{module}.checkpoint_filter_fn: adapt unsam_cli/backbones/vit_weights.py"
    assert found is not None, f"timm {version('timm')} has no {reason}"
    assert list(inspect.signature(found).parameters)[:2] == ["state_dict", "model"], reason


def test_queues_of_workers_tell_of_a_batch_that_was_lost() -> None:
    """A name of Python itself, which a training replaces in its workers."""
    found = getattr(Queue, "_on_queue_feeder_error", None)
    assert found is not None, (
        "multiprocessing.queues.Queue has no _on_queue_feeder_error: adapt "
        "_begin_worker in unsam_cli/training/loading.py"
    )
    assert list(inspect.signature(found).parameters) == ["e", "obj"]


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_the_releases_that_are_allowed_end(library: str) -> None:
    listed = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    (bounds,) = [d for d in listed if re.match(rf"{library}\b", d)]
    assert re.search(r",<\d", bounds), f"{bounds}: it has no upper bound"
