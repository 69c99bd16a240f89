"""Our forward pass of EoMT against that of transformers, and weights of vision transformers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import timm
import torch
from segmenter_models import EOMT, make_pixels, make_segmenter
from torch import Tensor

from unsam_cli.errors import UsageError
from unsam_cli.models import eomt as forward
from unsam_cli.models.loading import create_segmenter
from unsam_cli.models.networks import create_eomt
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.models.vit_to_eomt import eomt_state

pytestmark = pytest.mark.torch

PIXELS = make_pixels(64, 64)
assert_close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5)


def watch_theirs(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Tensor], list[Tensor]]:
    """Return class logits and mask logits of all layers that transformers predicts."""
    classes, masks = [], []
    predict = segmenter.network.predict

    def watched(tokens: Tensor) -> tuple[Tensor, Tensor]:
        mask, logits = predict(tokens)
        classes.append(logits)
        masks.append(mask)
        return mask, logits

    with monkeypatch.context() as patch:
        patch.setattr(segmenter.network, "predict", watched)
        segmenter.network(PIXELS)
    return classes, masks


@pytest.mark.parametrize("training", [False, True])
def test_all_layers_agree(eomt: Segmenter, monkeypatch: pytest.MonkeyPatch, training: bool) -> None:
    eomt.train(training)
    classes, masks = watch_theirs(eomt, monkeypatch)
    ours = eomt(PIXELS)
    first = 0 if training else len(classes) - 1
    assert ours.class_logits.shape == (len(classes) - first, 2, 20, 2)
    for layer in range(len(ours.class_logits)):
        assert_close(ours.class_logits[layer], classes[first + layer])
        assert_close(ours.mask_logits(layer), masks[first + layer])
    mixed = [0.02 < (m > 0).float().mean() < 0.98 for m in masks[0].flatten(0, 1)]
    assert sum(mixed) > len(mixed) / 2


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_agree(
    eomt: Segmenter, monkeypatch: pytest.MonkeyPatch, checkpointing: bool
) -> None:
    eomt.train()
    eomt.checkpointing = checkpointing

    def gradients(classes: list[Tensor], masks: list[Tensor]) -> dict[str, Tensor]:
        eomt.zero_grad(set_to_none=True)
        total = sum((x * x).mean() for x in (*classes, *masks))
        assert isinstance(total, Tensor)
        total.backward()  # type: ignore[no-untyped-call]
        return {n: p.grad.clone() for n, p in eomt.named_parameters() if p.grad is not None}

    expected = gradients(*watch_theirs(eomt, monkeypatch))
    ours = eomt(PIXELS)
    masks = [ours.mask_logits(layer) for layer in range(3)]
    assert_close(gradients(list(ours.class_logits), masks), expected)


def test_half_precision_trains(eomt: Segmenter) -> None:
    exact = eomt.train()(PIXELS)
    with torch.autocast("cpu", torch.bfloat16):
        found = eomt(PIXELS)
    for x in (found.class_logits, found.embeddings, found.features):
        assert x.dtype == torch.float32
    # the first layer has seen no masks yet: a flipped patch of a mask changes much
    torch.testing.assert_close(found.class_logits[0], exact.class_logits[0], rtol=0.1, atol=0.1)
    (found.class_logits.sum() + found.mask_logits().sum()).backward()
    assert all(p.grad.isfinite().all() for p in eomt.parameters() if p.grad is not None)


def test_blocks_without_masks_agree(eomt: Segmenter) -> None:
    """Published networks were trained until they need no masks in attention."""
    masked = eomt(PIXELS).mask_logits()
    eomt.network.attn_mask_probs.zero_()
    with torch.no_grad():
        theirs = eomt.network(PIXELS)
        ours = eomt(PIXELS)
    assert_close(ours.class_logits[0], theirs.class_queries_logits)
    assert_close(ours.mask_logits(), theirs.masks_queries_logits)
    assert not torch.allclose(ours.mask_logits(), masked)


def test_masks_are_left_out_for_some_queries_of_some_blocks(eomt: Segmenter) -> None:
    eomt.train()
    exact = eomt(PIXELS)
    eomt.network.attn_mask_probs[:] = torch.tensor([0.5, 1.0])
    torch.manual_seed(0)
    changed = eomt(PIXELS)
    torch.testing.assert_close(changed.class_logits[0], exact.class_logits[0])
    same = torch.isclose(changed.class_logits[1], exact.class_logits[1], rtol=1e-9).all(-1)
    assert not same.all()


def test_masks_are_annealed_block_by_block(eomt: Segmenter) -> None:
    blocks = len(eomt.network.attn_mask_probs)
    shares = torch.arange(blocks + 3) / (blocks + 2)
    table = []
    for share in shares.tolist():
        forward.anneal_masks(eomt.network, share)
        table.append(eomt.network.attn_mask_probs.tolist())
    # Of two blocks: all, all, the first is gone, both are gone, to the end.
    assert table == [
        pytest.approx([float(i < k + 2) for k in range(blocks)]) for i in range(blocks + 3)
    ]
    forward.anneal_masks(eomt.network, 1.5 / (blocks + 2))
    expected = [0.5**0.9, *[1.0] * (blocks - 1)]
    assert eomt.network.attn_mask_probs.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(32, 96), (80, 64)])
def test_other_sizes(eomt: Segmenter, shape: tuple[int, int]) -> None:
    predictions = eomt(make_pixels(*shape))
    assert eomt.multiple == 16
    assert predictions.features.shape == (2, 64, shape[0] // 4, shape[1] // 4)
    assert predictions.mask_logits().isfinite().all()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reg_tokens": 4, "no_embed_class": True, "init_values": 0.1},  # as DINOv2
        {"reg_tokens": 2},
    ],
)
def test_weights_of_the_transformer_are_taken_over(options: dict[str, Any]) -> None:
    """The plain blocks give the tokens that timm gives."""
    torch.manual_seed(0)
    vit = timm.create_model("test_vit", num_classes=0, img_size=64, **options).eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    network = create_eomt(EOMT, vit).eval()
    state = eomt_state(vit, "test_vit")
    assert len(state) == len(vit.state_dict()) + 2 * 2 * len(vit.blocks)  # q, k and v apart
    network.load_state_dict({**network.state_dict(), **state})
    pixels = make_pixels(64, 64)
    with torch.no_grad():
        hidden, grid = forward._embed(network, pixels)
        for layer in network.layers:
            hidden = layer(hidden, None)
        found = network.layernorm(hidden)
        expected = vit.forward_features(pixels)
    assert grid == (4, 4)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_seed_decides_all_weights() -> None:
    one, same, other = (make_segmenter("eomt", seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not torch.equal(one["network.query.weight"], other["network.query.weight"])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"backbone": "test_resnet"}, "no patch tokens"),
        ({"decoder_layers": 99}, "has 6 blocks, not 99"),
        ({"short_side": 72}, "not a multiple of the patch size"),
        ({"backbone": "test_vit2"}, "no class token or no position embeddings"),
    ],
)
def test_backbones_that_do_not_suit(changes: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        create_segmenter(replace(EOMT, **changes), seed=0)  # type: ignore[arg-type]
