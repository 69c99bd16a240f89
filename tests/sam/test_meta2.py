"""Original checkpoints of SAM 2: the answers of Meta's code with the same weights."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sam_models import picture
from torch import Tensor
from torch.testing import assert_close

from unsam_cli.errors import CheckpointError
from unsam_cli.sam.loading import load_promptable
from unsam_cli.sam.prompts import Prompts

pytestmark = pytest.mark.torch

RECORDED = json.loads(Path(__file__).with_name("sam2_tiny.json").read_text())


def drawn(name: str, shape: list[int]) -> Tensor:
    """Draw a tensor by its name, strong enough that answers depend on all of them."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    values = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        return torch.mul(values, 1.5 / values[0].numel() ** 0.5)
    return 0.1 * values + (1 if name.endswith("weight") else 0)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return {name: drawn(name, shape) for name, shape in RECORDED["tensors"].items()}


def test_answers_are_those_of_the_package_sam2(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model": state}, tmp_path / "sam2.1_hiera_tiny.pt")
    model = load_promptable(str(tmp_path / "sam2.1_hiera_tiny.pt"))
    assert (model.family, model.side) == ("sam2", 1024)
    asked = Prompts(torch.tensor([[[300.0, 200.0], [700.0, 650.0]]]), torch.tensor([[1, 0]]))
    with torch.inference_mode():
        pixels = model.frame((1024, 1024)).pixels(picture(1024, 1024))
        embedding = model.embed(pixels[None])
        for kind, expected in RECORDED["answers"].items():
            found = model.decode(embedding, asked, multimask=kind == "multimask")
            logits = found.logits[0, :, 20::40, 20::40].clamp(-32, 32)
            assert_close(logits, torch.tensor(expected["logits"]), rtol=1e-4, atol=1e-3)
            assert_close(found.scores[0], torch.tensor(expected["scores"]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("mistreat", "message"),
    [
        (
            lambda s: s.pop("sam_mask_decoder.iou_token.weight"),
            r"1 missing \(mask_decoder.iou_token.weight\)",
        ),
        (lambda s: s.update(extra=torch.ones(1)), r"1 unexpected \(extra\)"),
        (lambda s: s.pop("sam_prompt_encoder.point_embeddings.2.weight"), "point_embeddings.2"),
        (
            lambda s: s.pop("image_encoder.trunk.blocks.3.proj.weight"),
            "width 96 and 12 blocks is not a published model",
        ),
    ],
)
def test_other_checkpoints_are_refused(
    state: dict[str, Tensor], tmp_path: Path, mistreat: Callable[[Any], Any], message: str
) -> None:
    changed = dict(state)
    mistreat(changed)
    torch.save({"model": changed}, tmp_path / "sam2.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_promptable(str(tmp_path / "sam2.pt"))
    assert str(tmp_path / "sam2.pt") in str(caught.value)
