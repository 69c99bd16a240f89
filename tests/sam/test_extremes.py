"""Images that are a few pixels high, wide, or both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sam_models import make_sam, make_sam2, picture

from unsam_cli.sam.automatic import automatic_masks
from unsam_cli.sam.model import PromptableModel
from unsam_cli.sam.session import Session
from unsam_cli.sam.settings import AutomaticConfig, Prompt

pytestmark = pytest.mark.torch

SIZES = [(1, 1), (1, 2), (2, 2), (3, 3), (1, 3000), (3000, 3), (3, 10000)]


@pytest.fixture(scope="module", params=["sam", "sam2"])
def model(request: pytest.FixtureRequest) -> PromptableModel:
    network = make_sam() if request.param == "sam" else make_sam2()
    return PromptableModel(network).eval()


@pytest.mark.parametrize("size", SIZES)
def test_prompts_at_all_borders_are_answered(model: PromptableModel, size: tuple[int, int]) -> None:
    height, width = size
    session = Session(model)
    session.set_image(picture(height, width))
    corners = [(float(x), float(y)) for x in (0, width - 1) for y in (0, height - 1)]
    prompts = [Prompt((corner,), (1,)) for corner in corners]
    answers = session.ask([*prompts, Prompt(box=(0.0, 0.0, float(width), float(height)))])
    assert all(tuple(rle["size"]) == size for answer in answers for rle in answer.rles)
    assert all(np.isfinite(answer.scores).all() for answer in answers)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layers", [0, 2])
def test_all_masks_are_searched(model: PromptableModel, size: tuple[int, int], layers: int) -> None:
    config = AutomaticConfig(
        points_per_side=2, min_score=0, min_stability=0, crop_layers=layers, min_region=1
    )
    with torch.inference_mode():
        found = automatic_masks(model, picture(*size), config)
    assert all(tuple(rle["size"]) == size for rle in found.rles)
    assert np.isfinite(found.scores).all()
