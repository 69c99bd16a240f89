"""Our forward pass of Mask2Former against that of transformers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from segmenter_models import MASK2FORMER, make_pixels, make_segmenter
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unsam_cli import deformable
from unsam_cli.models import query_decoder
from unsam_cli.models.loading import create_segmenter
from unsam_cli.models.predictions import Predictions
from unsam_cli.models.segmenter import Segmenter

pytestmark = pytest.mark.torch

PIXELS = make_pixels(dtype=torch.float64)


def run_theirs(segmenter: Segmenter, pixels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return class logits and mask logits of all layers."""
    output = segmenter.network(pixels, output_auxiliary_logits=True)
    auxiliary = output.auxiliary_logits
    classes = [layer["class_queries_logits"] for layer in auxiliary]
    masks = [layer["masks_queries_logits"] for layer in auxiliary]
    return [*classes, output.class_queries_logits], [*masks, output.masks_queries_logits]


def gradients(segmenter: Segmenter, classes: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """Return gradients of a sum to which everything contributes."""
    rng = torch.Generator().manual_seed(3)
    total = sum(
        (x * torch.randn(x.shape, generator=rng, dtype=x.dtype)).sum() for x in (classes, masks)
    )
    segmenter.zero_grad(set_to_none=True)
    assert isinstance(total, Tensor)
    total.backward()  # type: ignore[no-untyped-call]
    return {n: p.grad.clone() for n, p in segmenter.named_parameters() if p.grad is not None}


def all_masks(predictions: Predictions) -> Tensor:
    layers = range(len(predictions.embeddings))
    return torch.stack([predictions.mask_logits(layer) for layer in layers])


@pytest.mark.parametrize("shape", [(64, 96), (96, 32)])
def test_evaluation_agrees(mask2former: Segmenter, shape: tuple[int, int]) -> None:
    pixels = make_pixels(*shape, dtype=torch.float64)
    with torch.no_grad():
        ours = mask2former(pixels)
        classes, masks = run_theirs(mask2former, pixels)
    assert ours.class_logits.shape == (1, 2, 20, 2)
    torch.testing.assert_close(ours.class_logits[0], classes[-1])
    torch.testing.assert_close(ours.mask_logits(), masks[-1])
    # Else nothing was said about the masks in attention.
    mixed = [0.02 < (m > 0).double().mean() < 0.98 for m in masks[-2].flatten(0, 1)]
    assert sum(mixed) > len(mixed) / 2


def test_single_precision_agrees() -> None:
    segmenter = make_segmenter()
    pixels = PIXELS.float()
    with torch.no_grad():
        ours = segmenter(pixels)
        classes, masks = run_theirs(segmenter, pixels)
    assert ours.class_logits.dtype == ours.features.dtype == torch.float32
    torch.testing.assert_close(ours.class_logits[0], classes[-1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.mask_logits(), masks[-1], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_agrees_with_gradients(mask2former: Segmenter, checkpointing: bool) -> None:
    mask2former.train()
    mask2former.checkpointing = checkpointing
    theirs = [torch.stack(x) for x in run_theirs(mask2former, PIXELS)]
    expected = gradients(mask2former, *theirs)
    ours = mask2former(PIXELS)
    assert ours.class_logits.shape == (5, 2, 20, 2)
    torch.testing.assert_close(ours.class_logits, theirs[0])
    torch.testing.assert_close(all_masks(ours), theirs[1])
    found = gradients(mask2former, ours.class_logits, all_masks(ours))
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found, expected)


def test_the_size_of_chunks_does_not_matter(
    mask2former: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.no_grad():
        expected = mask2former(PIXELS)
        monkeypatch.setattr(deformable, "CHUNK", 17)
        monkeypatch.setattr(query_decoder, "CHUNK", 7)
        found = mask2former(PIXELS)
    torch.testing.assert_close(found.class_logits, expected.class_logits)
    torch.testing.assert_close(found.mask_logits(), expected.mask_logits())


def test_images_do_not_see_each_other(mask2former: Segmenter) -> None:
    with torch.no_grad():
        together = mask2former(PIXELS)
        alone = mask2former(PIXELS[1:])
    torch.testing.assert_close(together.mask_logits()[1:], alone.mask_logits())


def test_half_precision_trains() -> None:
    segmenter = make_segmenter().train()
    pixels = PIXELS.float()
    exact = segmenter(pixels)
    for checkpointing in (False, True):
        segmenter.checkpointing = checkpointing
        with torch.autocast("cpu", torch.bfloat16):
            found = segmenter(pixels)
        for x in (found.class_logits, found.embeddings, found.features):
            assert x.dtype == torch.float32
        # the first layer has seen no masks yet: a flipped pixel of a mask changes much
        torch.testing.assert_close(
            found.class_logits[0], exact.class_logits[0], rtol=0.05, atol=0.05
        )
        grads = gradients(segmenter, found.class_logits, all_masks(found))
        assert all(g.isfinite().all() for g in grads.values())
        assert len(grads) == sum(p.requires_grad for p in segmenter.parameters())


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the size of the largest tensor that is made."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, Tensor):
                self.largest = max(self.largest, x.numel())
        return out


def test_masks_of_all_queries_are_never_made() -> None:
    queries, pixels = 600, make_pixels(128, 128, batch=1)
    segmenter = create_segmenter(replace(MASK2FORMER, queries=queries), seed=0).eval()
    masks = queries * (128 // 4) ** 2
    with torch.no_grad():
        with Watch() as theirs:  # type: ignore[no-untyped-call]
            segmenter.network(pixels)
        with Watch() as ours:  # type: ignore[no-untyped-call]
            segmenter(pixels)
    assert theirs.largest >= masks
    assert ours.largest < masks / 2
