"""UnSAM's promptable network in plain torch, on weights named as its checkpoints name them.

Written from the description of the network alone, slow and obvious: the oracle for reading the
checkpoints and for the forward pass. It has all layers, but may be narrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]
DEPTHS, WINDOW = (2, 2, 6, 2), 7
HEADS, LEVELS, POINTS, MASKS = 8, 4, 4, 6
PIXEL_LAYERS, CLICK_LAYERS = 6, 9
PIXELS = "sem_seg_head.pixel_decoder."
CLICKS = "sem_seg_head.predictor."


@dataclass(frozen=True)
class Sizes:
    """Widths; the defaults are narrow, so that tests are fast."""

    embed: int = 12
    heads: tuple[int, ...] = (1, 2, 4, 8)
    hidden: int = 64
    feedforward: int = 48


PUBLISHED = Sizes(96, (3, 6, 12, 24), 256, 2048)


def list_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:  # noqa: C901
    """Return names and shapes of all weights of a checkpoint, without the prefix ``model.``."""
    shapes: dict[str, tuple[int, ...]] = {}
    width, inner = sizes.hidden, sizes.feedforward

    def norm(name: str, size: int) -> None:
        shapes.update({f"{name}.weight": (size,), f"{name}.bias": (size,)})

    def linear(name: str, inputs: int, outputs: int) -> None:
        shapes.update({f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)})

    def perceptron(name: str, widths: list[int]) -> None:
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            linear(f"{name}.layers.{i}", inputs, outputs)

    def deformable(name: str) -> None:
        linear(f"{name}.sampling_offsets", width, HEADS * LEVELS * POINTS * 2)
        linear(f"{name}.attention_weights", width, HEADS * LEVELS * POINTS)
        linear(f"{name}.value_proj", width, width)
        linear(f"{name}.output_proj", width, width)

    shapes["backbone.patch_embed.proj.weight"] = (sizes.embed, 3, 4, 4)
    shapes["backbone.patch_embed.proj.bias"] = (sizes.embed,)
    norm("backbone.patch_embed.norm", sizes.embed)
    for stage, (depth, heads) in enumerate(zip(DEPTHS, sizes.heads, strict=True)):
        channels = sizes.embed * 2**stage
        for b in range(depth):
            block = f"backbone.layers.{stage}.blocks.{b}"
            norm(f"{block}.norm1", channels)
            shapes[f"{block}.attn.relative_position_bias_table"] = ((2 * WINDOW - 1) ** 2, heads)
            shapes[f"{block}.attn.relative_position_index"] = (WINDOW**2, WINDOW**2)
            linear(f"{block}.attn.qkv", channels, 3 * channels)
            linear(f"{block}.attn.proj", channels, channels)
            norm(f"{block}.norm2", channels)
            linear(f"{block}.mlp.fc1", channels, 4 * channels)
            linear(f"{block}.mlp.fc2", 4 * channels, channels)
        if stage < 3:
            down = f"backbone.layers.{stage}.downsample"
            shapes[f"{down}.reduction.weight"] = (2 * channels, 4 * channels)
            norm(f"{down}.norm", 4 * channels)
        norm(f"backbone.norm{stage}", channels)
    for i, (power, size) in enumerate(((1, 1), (2, 1), (3, 1), (3, 3))):
        convolution = f"{PIXELS}input_proj.{i}.0"
        shapes[f"{convolution}.weight"] = (width, sizes.embed * 2**power, size, size)
        shapes[f"{convolution}.bias"] = (width,)
        norm(f"{PIXELS}input_proj.{i}.1", width)
    shapes[f"{PIXELS}transformer.level_embed"] = (LEVELS, width)
    for i in range(PIXEL_LAYERS):
        layer = f"{PIXELS}transformer.encoder.layers.{i}"
        deformable(f"{layer}.self_attn")
        norm(f"{layer}.norm1", width)
        linear(f"{layer}.linear1", width, inner)
        linear(f"{layer}.linear2", inner, width)
        norm(f"{layer}.norm2", width)
    for name, channels, size in (("adapter_1", sizes.embed, 1), ("layer_1", width, 3)):
        shapes[f"{PIXELS}{name}.weight"] = (width, channels, size, size)
        norm(f"{PIXELS}{name}.norm", width)
    shapes[f"{PIXELS}mask_features.weight"] = (width, width, 1, 1)
    shapes[f"{PIXELS}mask_features.bias"] = (width,)
    shapes[f"{CLICKS}lang_mapper"] = (2 * width, width)
    shapes[f"{CLICKS}class_embed"] = shapes[f"{CLICKS}class_embed_part"] = (width, 2 * width)
    perceptron(f"{CLICKS}mask_embed", [width] * 4)
    norm(f"{CLICKS}decoder_norm", width)
    norm(f"{CLICKS}decoder.norm", width)
    for i in range(CLICK_LAYERS):
        layer = f"{CLICKS}decoder.layers.{i}"
        deformable(f"{layer}.cross_attn")
        norm(f"{layer}.norm1", width)
        shapes[f"{layer}.self_attn.in_proj_weight"] = (3 * width, width)
        shapes[f"{layer}.self_attn.in_proj_bias"] = (3 * width,)
        linear(f"{layer}.self_attn.out_proj", width, width)
        norm(f"{layer}.norm2", width)
        linear(f"{layer}.linear1", width, inner)
        linear(f"{layer}.linear2", inner, width)
        norm(f"{layer}.norm3", width)
        perceptron(f"{CLICKS}bbox_embed.{i}", [width, width, width, 4])
        perceptron(f"{CLICKS}decoder.bbox_embed.{i}", [width, width, width, 4])
    perceptron(f"{CLICKS}_bbox_embed", [width, width, width, 4])
    perceptron(f"{CLICKS}decoder.ref_point_head", [2 * width, width, width])
    perceptron(f"{CLICKS}iou_prediction_head", [width, width, width, 1])
    shapes[f"{CLICKS}mask_tokens.weight"] = (MASKS, width)
    shapes[f"{CLICKS}pb_embedding.weight"] = shapes[f"{CLICKS}label_enc.weight"] = (2, width)
    shapes["criterion.empty_weight"] = (2,)
    return shapes


def make_state(sizes: Sizes | None = None, seed: int = 0) -> State:
    """Return random weights with which tokens, boxes and masks differ; repeats are equal."""
    rng = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, shape in list_shapes(sizes or Sizes()).items():
        value = torch.randn(shape, generator=rng)
        if name.endswith("relative_position_index"):
            value = relative_index()
        elif len(shape) == 1:
            value = 0.1 * value + (1.0 if name.endswith("weight") else 0.0)
            if name.endswith("bbox_embed.layers.2.bias"):
                value = value + torch.tensor([0, 0, 1.0, 0.6])  # boxes grow from layer to layer
        elif not name.endswith(("level_embed", "mask_tokens.weight", "_enc.weight")):
            value /= math.sqrt(math.prod(shape[1:]))
        state[name] = value
    for name in state:
        head, found, rest = name.partition("bbox_embed.")
        if found and not head.endswith("_"):
            state[name] = state[f"{CLICKS}_bbox_embed.{rest.partition('.')[2]}"].clone()
        if name.startswith(f"{CLICKS}decoder.norm."):
            state[name] = state[name.replace("decoder.norm", "decoder_norm")].clone()
    state["criterion.empty_weight"] = torch.tensor([1.0, 0.1])
    return state


def answer(
    state: State, sizes: Sizes, pixels: Tensor, boxes: Tensor, *, apart: bool, kind: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mask logits (P, 6, h, w), scores (P, 6) and boxes (P, 6, 4) for an image (3, H, W)."""
    features, levels = decode_pixels(state, extract(state, sizes, pixels[None]))
    value = torch.cat([x[0].flatten(1).T for x in reversed(levels)])
    shapes = [(x.shape[2], x.shape[3]) for x in reversed(levels)]
    content = state[f"{CLICKS}label_enc.weight"][0] + state[f"{CLICKS}pb_embedding.weight"][kind]
    tokens = (content + state[f"{CLICKS}mask_tokens.weight"]).repeat(len(boxes), 1)
    reference = logit(boxes).sigmoid().repeat_interleave(MASKS, 0)
    click = torch.arange(len(boxes)).repeat_interleave(MASKS)
    forbidden = (click[:, None] != click) & torch.tensor(apart)
    for i in range(CLICK_LAYERS):
        layer = f"{CLICKS}decoder.layers.{i}"
        count = tokens.shape[1] // 2
        coded = [waves(reference[:, j] * 2 * math.pi, count) for j in (1, 0, 2, 3)]
        place = perceptron(state, f"{CLICKS}decoder.ref_point_head", torch.cat(coded, 1), 2)
        mixed = attend_all(state, f"{layer}.self_attn", tokens + place, tokens, forbidden)
        tokens = norm(state, f"{layer}.norm2", tokens + mixed)
        centre = reference[:, None, None, None, :2]
        reach = reference[:, None, None, None, 2:] * 0.5 / POINTS
        seen = deformable(
            state, f"{layer}.cross_attn", tokens + place, value, shapes, centre, reach
        )
        tokens = norm(state, f"{layer}.norm1", tokens + seen)
        tokens = norm(state, f"{layer}.norm3", tokens + mlp(state, layer, tokens))
        entered = reference
        moved = perceptron(state, f"{CLICKS}bbox_embed.{i}", tokens, 3)
        reference = (logit(reference) + moved).sigmoid()
    normed = norm(state, f"{CLICKS}decoder_norm", norm(state, f"{CLICKS}decoder_norm", tokens))
    weights = perceptron(state, f"{CLICKS}mask_embed", normed, 3)
    masks = torch.einsum("tc,chw->thw", weights, features[0])
    scores = perceptron(state, f"{CLICKS}iou_prediction_head", normed, 3)[:, 0]
    moved = perceptron(state, f"{CLICKS}_bbox_embed", normed, 3)
    found = masks, scores, (logit(entered) + moved).sigmoid()
    masks, scores, places = (x.reshape(len(boxes), MASKS, *x.shape[1:]) for x in found)
    return masks, scores, places


def extract(state: State, sizes: Sizes, pixels: Tensor) -> list[Tensor]:
    """Return the maps of the four stages of the Swin transformer, (1, C, h, w)."""
    name = "backbone.patch_embed"
    x = functional.conv2d(
        pixels, state[f"{name}.proj.weight"], state[f"{name}.proj.bias"], stride=4
    )
    x = norm(state, f"{name}.norm", x[0].permute(1, 2, 0))  # rows, columns, channels
    maps = []
    for stage, (depth, heads) in enumerate(zip(DEPTHS, sizes.heads, strict=True)):
        for b in range(depth):
            block = f"backbone.layers.{stage}.blocks.{b}"
            y = norm(state, f"{block}.norm1", x)
            x = x + attend_in_windows(state, f"{block}.attn", y, heads, 3 * (b % 2))
            y = linear(state, f"{block}.mlp.fc1", norm(state, f"{block}.norm2", x))
            x = x + linear(state, f"{block}.mlp.fc2", functional.gelu(y))
        maps.append(norm(state, f"backbone.norm{stage}", x).permute(2, 0, 1)[None])
        if stage < 3:
            down = f"backbone.layers.{stage}.downsample"
            x = functional.pad(x, (0, 0, 0, x.shape[1] % 2, 0, x.shape[0] % 2))
            x = torch.cat([x[0::2, 0::2], x[1::2, 0::2], x[0::2, 1::2], x[1::2, 1::2]], -1)
            x = norm(state, f"{down}.norm", x) @ state[f"{down}.reduction.weight"].T
    return maps


def attend_in_windows(state: State, name: str, x: Tensor, heads: int, shift: int) -> Tensor:
    """Let the pixels of each 7 x 7 window attend to each other, in windows that are shifted."""
    height, width, channels = x.shape
    x = functional.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
    x = x.roll((-shift, -shift), (0, 1))
    out = torch.empty_like(x)
    # What was rolled in from the other side is not beside the rest of its window.
    region = torch.zeros(x.shape[:2], dtype=torch.long)
    if shift:
        for axis in (0, 1):
            at = torch.arange(x.shape[axis])
            part = (at >= len(at) - WINDOW).long() + (at >= len(at) - shift).long()
            region = 3 * region + (part[:, None] if axis == 0 else part)
    table = state[f"{name}.relative_position_bias_table"]
    for top in range(0, x.shape[0], WINDOW):
        for left in range(0, x.shape[1], WINDOW):
            window = slice(top, top + WINDOW), slice(left, left + WINDOW)
            inside = x[window].reshape(-1, channels)
            q, k, v = (
                y.reshape(len(y), heads, -1).transpose(0, 1)
                for y in linear(state, f"{name}.qkv", inside).chunk(3, 1)
            )
            scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[2])
            scores = scores + table[relative_index()].permute(2, 0, 1)
            of = region[window].flatten()
            scores = scores - 100.0 * (of[:, None] != of)
            mixed = (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)
            out[window] = linear(state, f"{name}.proj", mixed).view(WINDOW, WINDOW, -1)
    return out.roll((shift, shift), (0, 1))[:height, :width]


def relative_index() -> Tensor:
    """Return the row of the table for each pair of positions of a window, query first."""
    places = [(y, x) for y in range(WINDOW) for x in range(WINDOW)]
    return torch.tensor([[(y - v + 6) * 13 + (x - u + 6) for v, u in places] for y, x in places])


def decode_pixels(state: State, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return the mask features at stride 4, and the levels at strides 8, 16, 32 and 64."""
    levels = []
    for i, x in enumerate([*maps[1:], maps[3]]):
        weight = state[f"{PIXELS}input_proj.{i}.0.weight"]
        bias = state[f"{PIXELS}input_proj.{i}.0.bias"]
        x = functional.conv2d(x, weight, bias, stride=1 + (i == 3), padding=int(i == 3))
        levels.append(group_norm(state, f"{PIXELS}input_proj.{i}.1", x))
    shapes = [(x.shape[2], x.shape[3]) for x in levels]
    tokens = torch.cat([x[0].flatten(1).T for x in levels])
    embed = state[f"{PIXELS}transformer.level_embed"]
    count = tokens.shape[1] // 2
    places, centres = [], []
    for level, (h, w) in enumerate(shapes):
        for row in range(h):
            for column in range(w):
                y, x = (
                    waves(torch.tensor((i + 1) / (n + 1e-6) * 2 * math.pi), count)
                    for i, n in ((row, h), (column, w))
                )
                places.append(torch.cat([y, x]) + embed[level])
                centres.append(((column + 0.5) / w, (row + 0.5) / h))
    place = torch.stack(places)
    centre = torch.tensor(centres)[:, None, None, None]
    reach = torch.tensor([(1 / w, 1 / h) for h, w in shapes])[None, None, :, None]
    for i in range(PIXEL_LAYERS):
        layer = f"{PIXELS}transformer.encoder.layers.{i}"
        seen = deformable(
            state, f"{layer}.self_attn", tokens + place, tokens, shapes, centre, reach
        )
        tokens = norm(state, f"{layer}.norm1", tokens + seen)
        tokens = norm(state, f"{layer}.norm2", tokens + mlp(state, layer, tokens))
    parts = torch.split(tokens, [h * w for h, w in shapes])
    levels = [part.T.view(1, -1, h, w) for part, (h, w) in zip(parts, shapes, strict=True)]
    x = functional.conv2d(maps[0], state[f"{PIXELS}adapter_1.weight"])
    x = group_norm(state, f"{PIXELS}adapter_1.norm", x)
    x = x + functional.interpolate(levels[0], x.shape[2:], mode="bilinear", align_corners=False)
    x = functional.conv2d(x, state[f"{PIXELS}layer_1.weight"], padding=1)
    x = group_norm(state, f"{PIXELS}layer_1.norm", x).relu()
    name = f"{PIXELS}mask_features"
    return functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"]), levels


def deformable(
    state: State,
    name: str,
    queries: Tensor,
    values: Tensor,
    shapes: list[tuple[int, int]],
    centre: Tensor,
    reach: Tensor,
) -> Tensor:
    """Let queries (n, C) attend to values (N, C) at centre + reach * offset, as fractions."""
    n, channels = queries.shape
    offsets = linear(state, f"{name}.sampling_offsets", queries)
    places = centre + offsets.view(n, HEADS, LEVELS, POINTS, 2) * reach
    weights = linear(state, f"{name}.attention_weights", queries).view(n, HEADS, -1).softmax(-1)
    weights = weights.view(n, HEADS, LEVELS, POINTS)
    projected = linear(state, f"{name}.value_proj", values).view(-1, HEADS, channels // HEADS)
    out = torch.zeros(n, HEADS, channels // HEADS, dtype=queries.dtype)
    for level, part in enumerate(torch.split(projected, [h * w for h, w in shapes])):
        sampled = sample(part.view(*shapes[level], HEADS, -1), places[:, :, level])
        out += (sampled * weights[:, :, level, :, None]).sum(2)
    return linear(state, f"{name}.output_proj", out.flatten(1))


def sample(image: Tensor, places: Tensor) -> Tensor:
    """Mix the four pixels around places (n, heads, points, 2) of an image (h, w, heads, c)."""
    h, w = image.shape[:2]
    head = torch.arange(image.shape[2])[None, :, None]
    at = places * torch.tensor([w, h]) - 0.5
    corner = at.floor()
    total = torch.zeros((), dtype=image.dtype)
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = (corner + torch.tensor([dx, dy])).long().unbind(-1)
            share = (1 - (at[..., 0] - x).abs()) * (1 - (at[..., 1] - y).abs())
            inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
            pixel = image[y.clamp(0, h - 1), x.clamp(0, w - 1), head]
            total = total + pixel * (share * inside)[..., None]
    return total


def attend_all(state: State, name: str, queries: Tensor, values: Tensor, no: Tensor) -> Tensor:
    """Let tokens (n, C) attend to each other, except where `no` (n, n) is true."""
    weight, bias = state[f"{name}.in_proj_weight"], state[f"{name}.in_proj_bias"]
    parts = zip((queries, queries, values), weight.chunk(3), bias.chunk(3), strict=True)
    q, k, v = ((x @ w.T + b).reshape(len(x), HEADS, -1).transpose(0, 1) for x, w, b in parts)
    scores = (q @ k.transpose(1, 2) / math.sqrt(q.shape[2])).masked_fill(no, -torch.inf)
    return linear(state, f"{name}.out_proj", (scores.softmax(-1) @ v).transpose(0, 1).flatten(1))


def waves(places: Tensor, count: int) -> Tensor:
    """Return sine and cosine in turns of places (...), (..., count)."""
    found = []
    for i in range(count // 2):
        angle = places / 10000 ** (2 * i / count)
        found += [angle.sin(), angle.cos()]
    return torch.stack(found, -1)


def logit(x: Tensor) -> Tensor:
    return x.clamp(min=1e-5).log() - (1 - x).clamp(min=1e-5).log()


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(state: State, name: str, x: Tensor) -> Tensor:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return functional.layer_norm(x, weight.shape, weight, bias)


def group_norm(state: State, name: str, x: Tensor) -> Tensor:
    return functional.group_norm(x, 32, state[f"{name}.weight"], state[f"{name}.bias"])


def mlp(state: State, layer: str, x: Tensor) -> Tensor:
    return linear(state, f"{layer}.linear2", linear(state, f"{layer}.linear1", x).relu())


def perceptron(state: State, name: str, x: Tensor, count: int) -> Tensor:
    for i in range(count):
        x = linear(state, f"{name}.layers.{i}", x)
        x = x.relu() if i < count - 1 else x
    return x
