"""Names of the weights: in UnSAM's promptable checkpoints, and in our network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from unsam_cli.sam.semantic.config import SemanticConfig

_PIXELS, _CLICKS = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
_BLOCK = r"backbone\.encoder\.(layers\.\d+\.blocks\.\d+)\."
_RULES: tuple[tuple[str, str, int | None], ...] = (
    (r"backbone\.embeddings\.patch_embeddings\.projection\.", "backbone.patch_embed.proj.", None),
    (r"backbone\.embeddings\.norm\.", "backbone.patch_embed.norm.", None),
    (rf"{_BLOCK}layernorm_before\.", r"backbone.\1.norm1.", None),
    (rf"{_BLOCK}layernorm_after\.", r"backbone.\1.norm2.", None),
    (rf"{_BLOCK}attention\.(?:q_proj|self\.query)\.", r"backbone.\1.attn.qkv.", 0),
    (rf"{_BLOCK}attention\.(?:k_proj|self\.key)\.", r"backbone.\1.attn.qkv.", 1),
    (rf"{_BLOCK}attention\.(?:v_proj|self\.value)\.", r"backbone.\1.attn.qkv.", 2),
    (rf"{_BLOCK}attention\.(?:o_proj|output\.dense)\.", r"backbone.\1.attn.proj.", None),
    (rf"{_BLOCK}attention\.(?:relative_position_bias|self)\.", r"backbone.\1.attn.", None),
    (rf"{_BLOCK}(?:mlp\.fc1|intermediate\.dense)\.", r"backbone.\1.mlp.fc1.", None),
    (rf"{_BLOCK}(?:mlp\.fc2|output\.dense)\.", r"backbone.\1.mlp.fc2.", None),
    (r"backbone\.encoder\.(layers\.\d+\.downsample)\.", r"backbone.\1.", None),
    (r"pixels\.", _PIXELS, None),
    (r"clicks\.", _CLICKS, None),
)
"""Prefixes of names in transformers 5, early or late, and in the file; the part of a packed one."""

_INDEX = ".relative_position_index"
_UNUSED = {"lang_mapper": (2, 1), "class_embed": (1, 2), "class_embed_part": (1, 2)}
"""Weights of words, which an answer does not depend on, and their shape in widths."""
OPTIONAL = ("criterion.empty_weight",)
"""Written only if the process that saved the file had trained."""


class Place(NamedTuple):
    """Name of a weight in the file, and which third of it is meant, if it is packed."""

    name: str
    part: int | None


def place_of(name: str) -> Place:
    """Return where the published checkpoints store a weight of our network."""
    name = name.replace("backbone.swin.", "backbone.", 1)
    if found := re.match(r"backbone\.hidden_states_norms\.stage(\d)\.", name):
        return Place(f"backbone.norm{int(found[1]) - 1}.{name[found.end() :]}", None)
    for pattern, target, part in _RULES:
        renamed, count = re.subn(f"^{pattern}", target, name)
        if count:
            return Place(renamed, part)
    return Place(name, None)


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of our network, and pack them, as published; without repeats."""
    published: dict[str, Tensor] = {}
    thirds: dict[str, dict[int, Tensor]] = {}
    for own, tensor in state.items():
        name, part = place_of(own)
        if name.endswith(_INDEX):
            continue
        if part is None:
            published[name] = tensor
        else:
            thirds.setdefault(name, {})[part] = tensor
    return published | {name: torch.cat([of[i] for i in range(3)]) for name, of in thirds.items()}


def from_published(names: Iterable[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Find the weights with our `names` in a state dict with published names."""
    found = {}
    for own in names:
        name, part = place_of(own)
        if not name.endswith(_INDEX):
            found[own] = state[name] if part is None else state[name].chunk(3)[part]
    return found


def repeats(state: Mapping[str, Tensor], config: SemanticConfig) -> dict[str, str]:
    """List the weights that the file has several times: name, and name of what it repeats."""
    found = {}
    for name in state:
        if name.startswith(box := f"{_CLICKS}_bbox_embed."):
            for i in range(config.click_layers):
                for place in ("bbox_embed", "decoder.bbox_embed"):
                    found[f"{_CLICKS}{place}.{i}.{name.removeprefix(box)}"] = name
        elif name.startswith(norm := f"{_CLICKS}decoder_norm."):
            found[f"{_CLICKS}decoder.norm.{name.removeprefix(norm)}"] = name
    return found


def extras(config: SemanticConfig) -> dict[str, Tensor]:
    """Return what else a file has: indices that follow from the window, and unused weights."""
    index = relative_index(config.window)
    blocks = [(s, b) for s, depth in enumerate(config.depths) for b in range(depth)]
    widths = {1: config.hidden, 2: 2 * config.hidden}
    unused = {
        f"{_CLICKS}{name}": torch.empty([widths[n] for n in shape], device="meta")
        for name, shape in _UNUSED.items()
    }
    return unused | {f"backbone.layers.{s}.blocks.{b}.attn{_INDEX}": index for s, b in blocks}


def relative_index(window: int) -> Tensor:
    """Return the row of the table of biases for each pair of a window's positions, (n, n) int64."""
    y, x = (
        torch.arange(window * window).div(window, rounding_mode="floor"),
        (torch.arange(window * window) % window),
    )
    rows = y[:, None] - y + window - 1
    return rows * (2 * window - 1) + x[:, None] - x + window - 1
