"""UnSAM's Mask2Former in plain torch, on weights named as detectron2 names them.

Written from the description of the network alone, slow and obvious: the oracle for conversion and
for the forward pass.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]
BLOCKS = {2: 3, 3: 4, 4: 6, 5: 3}
HEADS, LEVELS, POINTS = 8, 3, 4
PIXEL_LAYERS, QUERY_LAYERS = 6, 9
PIXELS = "sem_seg_head.pixel_decoder."
QUERIES = "sem_seg_head.predictor."


def list_shapes(queries: int = 2000) -> dict[str, tuple[int, ...]]:  # noqa: C901
    """Return names and shapes of all weights of the published checkpoint."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, size: int, frozen: bool = False) -> None:
        parts = ("weight", "bias", "running_mean", "running_var")
        shapes.update({f"{name}.{part}": (size,) for part in parts[: 4 if frozen else 2]})

    def linear(name: str, inputs: int, outputs: int) -> None:
        shapes.update({f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)})

    def frozen_conv(name: str, inputs: int, outputs: int, size: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs, size, size)
        norm(f"{name}.norm", outputs, frozen=True)

    frozen_conv("backbone.stem.conv1", 3, 64, 7)
    inputs = 64
    for stage, blocks in BLOCKS.items():
        middle, outputs = 16 * 2**stage, 64 * 2**stage
        for b in range(blocks):
            block = f"backbone.res{stage}.{b}"
            if b == 0:
                frozen_conv(f"{block}.shortcut", inputs, outputs, 1)
            frozen_conv(f"{block}.conv1", inputs, middle, 1)
            frozen_conv(f"{block}.conv2", middle, middle, 3)
            frozen_conv(f"{block}.conv3", middle, outputs, 1)
            inputs = outputs
    for i, channels in enumerate((2048, 1024, 512)):
        shapes[f"{PIXELS}input_proj.{i}.0.weight"] = (256, channels, 1, 1)
        shapes[f"{PIXELS}input_proj.{i}.0.bias"] = (256,)
        norm(f"{PIXELS}input_proj.{i}.1", 256)
    shapes[f"{PIXELS}transformer.level_embed"] = (3, 256)
    for i in range(PIXEL_LAYERS):
        layer = f"{PIXELS}transformer.encoder.layers.{i}"
        linear(f"{layer}.self_attn.sampling_offsets", 256, HEADS * LEVELS * POINTS * 2)
        linear(f"{layer}.self_attn.attention_weights", 256, HEADS * LEVELS * POINTS)
        linear(f"{layer}.self_attn.value_proj", 256, 256)
        linear(f"{layer}.self_attn.output_proj", 256, 256)
        norm(f"{layer}.norm1", 256)
        linear(f"{layer}.linear1", 256, 1024)
        linear(f"{layer}.linear2", 1024, 256)
        norm(f"{layer}.norm2", 256)
    for name, size in (("adapter_1", 1), ("layer_1", 3)):
        shapes[f"{PIXELS}{name}.weight"] = (256, 256, size, size)
        norm(f"{PIXELS}{name}.norm", 256)
    shapes[f"{PIXELS}mask_features.weight"] = (256, 256, 1, 1)
    shapes[f"{PIXELS}mask_features.bias"] = (256,)
    for i in range(QUERY_LAYERS):
        for kind, attention in (("self", "self_attn"), ("cross", "multihead_attn")):
            layer = f"{QUERIES}transformer_{kind}_attention_layers.{i}"
            shapes[f"{layer}.{attention}.in_proj_weight"] = (768, 256)
            shapes[f"{layer}.{attention}.in_proj_bias"] = (768,)
            linear(f"{layer}.{attention}.out_proj", 256, 256)
            norm(f"{layer}.norm", 256)
        layer = f"{QUERIES}transformer_ffn_layers.{i}"
        linear(f"{layer}.linear1", 256, 2048)
        linear(f"{layer}.linear2", 2048, 256)
        norm(f"{layer}.norm", 256)
    norm(f"{QUERIES}decoder_norm", 256)
    shapes[f"{QUERIES}query_feat.weight"] = (queries, 256)
    shapes[f"{QUERIES}query_embed.weight"] = (queries, 256)
    shapes[f"{QUERIES}level_embed.weight"] = (3, 256)
    linear(f"{QUERIES}class_embed", 256, 2)
    for i in range(3):
        linear(f"{QUERIES}mask_embed.layers.{i}", 256, 256)
    shapes["criterion.empty_weight"] = (2,)
    return shapes


def make_state(queries: int = 2000, seed: int = 0) -> State:
    """Return random weights of a scale that keeps activations near 1."""
    rng = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in list_shapes(queries).items():
        value = torch.randn(shape, generator=rng)
        if name.endswith("running_var"):
            value = 0.5 + value.abs()
        elif "sampling_offsets" in name:
            value *= 1.5 if name.endswith("bias") else 0.05
        elif len(shape) == 1:
            one = "norm" in name.lower() and name.endswith("weight")
            value = 0.1 * value + (1.0 if one or ".1.weight" in name else 0.0)
        elif len(shape) > 1 and "embed" not in name.rsplit(".", 2)[-2] and "feat" not in name:
            value /= math.sqrt(math.prod(shape[1:]))
        if QUERIES in name and name.endswith(("out_proj.weight", "linear2.weight")):
            value *= 0.3  # so that queries stay different
        state[name] = value
    state["criterion.empty_weight"] = torch.tensor([1.0, 0.1])
    return state


def predict(state: State, pixels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return class logits (B, Q, 2) and mask logits (B, Q, h, w) of all ten predictions."""
    features, levels = decode_pixels(state, extract(state, pixels))
    classes, masks = [], []
    query = state[f"{QUERIES}query_feat.weight"].expand(len(pixels), -1, -1)
    place = state[f"{QUERIES}query_embed.weight"]
    for i in range(QUERY_LAYERS + 1):
        normed = norm(state, f"{QUERIES}decoder_norm", query)
        classes.append(linear(state, f"{QUERIES}class_embed", normed))
        embedding = normed
        for j in range(3):
            embedding = linear(state, f"{QUERIES}mask_embed.layers.{j}", embedding)
            embedding = embedding.relu() if j < 2 else embedding
        masks.append(torch.einsum("bqc,bchw->bqhw", embedding, features))
        if i == QUERY_LAYERS:
            break
        level = levels[i % 3]
        value = level.flatten(2).transpose(1, 2) + state[f"{QUERIES}level_embed.weight"][i % 3]
        key = value + sine(level)
        small = functional.interpolate(masks[-1], level.shape[-2:], mode="bilinear")
        blocked = small.sigmoid().flatten(2) < 0.5
        blocked[blocked.all(-1)] = False
        layer = f"{QUERIES}transformer_cross_attention_layers.{i}"
        seen = attend(state, f"{layer}.multihead_attn", query + place, key, value, blocked)
        query = norm(state, f"{layer}.norm", query + seen)
        layer = f"{QUERIES}transformer_self_attention_layers.{i}"
        seen = attend(state, f"{layer}.self_attn", query + place, query + place, query)
        query = norm(state, f"{layer}.norm", query + seen)
        layer = f"{QUERIES}transformer_ffn_layers.{i}"
        query = norm(state, f"{layer}.norm", query + mlp(state, layer, query))
    return classes, masks


def extract(state: State, pixels: Tensor) -> list[Tensor]:
    """Return res2 to res5."""

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        w, b, mean, var = (
            state[f"{name}.norm.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (var + 1e-5).sqrt() * w + b

    x = conv("backbone.stem.conv1", pixels, 2).relu()
    x = functional.max_pool2d(x, 3, stride=2, padding=1)
    maps = []
    for stage, blocks in BLOCKS.items():
        for b in range(blocks):
            block = f"backbone.res{stage}.{b}"
            stride = 2 if b == 0 and stage > 2 else 1
            y = conv(f"{block}.conv1", x).relu()
            y = conv(f"{block}.conv2", y, stride).relu()
            y = conv(f"{block}.conv3", y)
            x = (y + (conv(f"{block}.shortcut", x, stride) if b == 0 else x)).relu()
        maps.append(x)
    return maps


def decode_pixels(state: State, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return mask features at stride 4, and features at strides 32, 16 and 8."""

    def group_norm(name: str, x: Tensor) -> Tensor:
        return functional.group_norm(x, 32, state[f"{name}.weight"], state[f"{name}.bias"])

    inputs = []
    for i, x in enumerate(maps[:0:-1]):
        name = f"{PIXELS}input_proj.{i}"
        x = functional.conv2d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"])
        inputs.append(group_norm(f"{name}.1", x))
    shapes = [tuple(x.shape[-2:]) for x in inputs]
    embed = state[f"{PIXELS}transformer.level_embed"]
    place = torch.cat([sine(x) + embed[i] for i, x in enumerate(inputs)], 1)
    hidden = torch.cat([x.flatten(2).transpose(1, 2) for x in inputs], 1)
    for i in range(PIXEL_LAYERS):
        layer = f"{PIXELS}transformer.encoder.layers.{i}"
        seen = sample(state, f"{layer}.self_attn", hidden + place, hidden, shapes)
        hidden = norm(state, f"{layer}.norm1", hidden + seen)
        hidden = norm(state, f"{layer}.norm2", hidden + mlp(state, layer, hidden))
    parts = torch.split_with_sizes(hidden.transpose(1, 2), [h * w for h, w in shapes], 2)
    levels = [torch.unflatten(part, 2, shape) for part, shape in zip(parts, shapes, strict=True)]
    side = functional.conv2d(maps[0], state[f"{PIXELS}adapter_1.weight"])
    side = group_norm(f"{PIXELS}adapter_1.norm", side)
    x = side + functional.interpolate(levels[-1], side.shape[-2:], mode="bilinear")
    x = functional.conv2d(x, state[f"{PIXELS}layer_1.weight"], padding=1)
    x = group_norm(f"{PIXELS}layer_1.norm", x).relu()
    name = f"{PIXELS}mask_features"
    return functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"]), levels


def sample(
    state: State, name: str, query: Tensor, hidden: Tensor, shapes: list[tuple[int, ...]]
) -> Tensor:
    """Deformable attention; bilinear interpolation is written out."""
    batch, count, channels = hidden.shape
    values = linear(state, f"{name}.value_proj", hidden)
    values = values.view(batch, count, HEADS, -1)
    offsets = linear(state, f"{name}.sampling_offsets", query)
    offsets = offsets.view(batch, count, HEADS, LEVELS, POINTS, 2)
    weights = linear(state, f"{name}.attention_weights", query)
    weights = weights.view(batch, count, HEADS, -1).softmax(-1)
    weights = weights.view(batch, count, HEADS, LEVELS, POINTS)
    centres = torch.cat(
        [
            torch.cartesian_prod(
                (torch.arange(h, dtype=hidden.dtype) + 0.5) / h,
                (torch.arange(w, dtype=hidden.dtype) + 0.5) / w,
            ).flip(1)
            for h, w in shapes
        ]
    )
    total = hidden.new_zeros(batch, count, HEADS, channels // HEADS)
    start = 0
    b = torch.arange(batch)[:, None, None, None]
    head = torch.arange(HEADS)[None, None, :, None]
    for level, (h, w) in enumerate(shapes):
        size = hidden.new_tensor([w, h])
        at = (centres[:, None, None] + offsets[:, :, :, level] / size) * size - 0.5
        low = at.floor()
        for dx in (0, 1):
            for dy in (0, 1):
                corner = low + hidden.new_tensor([dx, dy])
                share = (1 - (at - corner).abs()).prod(-1)
                x, y = corner.long().unbind(-1)
                inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
                row = start + y.clamp(0, h - 1) * w + x.clamp(0, w - 1)
                factor = share * inside * weights[:, :, :, level]
                total += (values[b, row, head] * factor[..., None]).sum(3)
        start += h * w
    return linear(state, f"{name}.output_proj", total.flatten(2))


def attend(
    state: State,
    name: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    blocked: Tensor | None = None,
) -> Tensor:
    weights = state[f"{name}.in_proj_weight"].chunk(3)
    biases = state[f"{name}.in_proj_bias"].chunk(3)
    q, k, v = (
        functional.linear(x, w, b).view(*x.shape[:2], HEADS, -1).transpose(1, 2)
        for x, w, b in zip((query, key, value), weights, biases, strict=True)
    )
    scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
    if blocked is not None:
        scores = scores.masked_fill(blocked[:, None], -math.inf)
    return linear(state, f"{name}.out_proj", (scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def sine(x: Tensor) -> Tensor:
    """Return the encoding of places, (1, h * w, C), rows first."""
    _, channels, height, width = x.shape
    half = channels // 2
    wave = 10000 ** (2 * (torch.arange(half) // 2).to(x.dtype) / half)

    def encode(size: int) -> Tensor:
        at = torch.arange(1, size + 1, dtype=x.dtype) / (size + 1e-6) * 2 * math.pi
        angle = at[:, None] / wave
        return torch.where(torch.arange(half) % 2 == 0, angle.sin(), angle.cos())

    rows = encode(height)[:, None].expand(-1, width, -1)
    columns = encode(width)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)[None]


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def norm(state: State, name: str, x: Tensor) -> Tensor:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return functional.layer_norm(x, (x.shape[-1],), weight, bias)


def mlp(state: State, name: str, x: Tensor) -> Tensor:
    return linear(state, f"{name}.linear2", linear(state, f"{name}.linear1", x).relu())
