"""One image and a promptable model: the masks of transformers, and what is told of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sam_models import make_sam, make_sam2, picture

from unsam_cli.errors import UsageError
from unsam_cli.prediction.prompted.answers import answer
from unsam_cli.prediction.prompted.questions import Question
from unsam_cli.prediction.prompted.settings import PromptedSettings
from unsam_cli.rle import decode, encode
from unsam_cli.sam.model import PromptableModel
from unsam_cli.sam.session import Answer, Session
from unsam_cli.sam.settings import Prompt

pytestmark = pytest.mark.torch

SIZE = (90, 121)
POINT = Prompt(((30.0, 20.0),), (1,))
TWO_POINTS = Prompt(((30.0, 20.0), (100.0, 70.0)), (1, 0))
BOX = Prompt(box=(10.0, 10.0, 60.0, 80.0))


def transformers_masks(network: Any, prompt: Prompt) -> tuple[Any, Any]:
    """Masks and scores as a user of transformers gets them: network, then post-processing."""
    from transformers import (
        Sam2ImageProcessor,
        Sam2Processor,
        SamImageProcessor,
        SamProcessor,
    )

    side = network.config.prompt_encoder_config.image_size
    if network.config.model_type == "sam2":
        low = {"height": side // 4, "width": side // 4}
        images = Sam2ImageProcessor(size={"height": side, "width": side}, mask_size=low)
        processor: Any = Sam2Processor(images)
    else:
        images = SamImageProcessor(
            size={"longest_edge": side}, pad_size={"height": side, "width": side}
        )
        processor = SamProcessor(images)
    asked: dict[str, Any] = {}
    if prompt.points:
        asked["input_points"] = [[[list(point) for point in prompt.points]]]
        asked["input_labels"] = [[list(prompt.labels)]]
    if prompt.box is not None:
        asked["input_boxes"] = [[list(prompt.box)]]
    inputs = processor(picture(*SIZE), return_tensors="pt", **asked)
    wanted = ("pixel_values", "input_points", "input_labels", "input_boxes")
    with torch.inference_mode():
        given = {
            key: inputs[key].float() if key != "input_labels" else inputs[key]
            for key in wanted
            if key in inputs
        }
        made = network(**given, multimask_output=prompt == POINT)
    sizes = [inputs["original_sizes"]]
    if "reshaped_input_sizes" in inputs:
        sizes.append(inputs["reshaped_input_sizes"])
    [masks] = processor.post_process_masks(made.pred_masks, *sizes)
    return masks[0].numpy(), made.iou_scores[0, 0].numpy()


@pytest.mark.parametrize("prompt", [POINT, TWO_POINTS, BOX])
@pytest.mark.parametrize("make", [make_sam, make_sam2])
def test_masks_are_those_of_transformers(make: Any, prompt: Prompt) -> None:
    network = make()
    found = answer(PromptableModel(network).eval(), picture(*SIZE), 7, [Question("", prompt, 1)])
    masks, scores = transformers_masks(network, prompt)
    order = np.argsort(-scores, kind="stable")
    # Only a single click is ambiguous.
    assert [a["image_id"] for a in found] == ([7, 7, 7] if prompt == POINT else [7])
    np.testing.assert_allclose([a["score"] for a in found], scores[order], atol=3e-3)
    for a, i in zip(found, order, strict=True):
        # Images are resized by another library there, by at most one of 255 levels differently.
        assert (decode(a["segmentation"]) ^ masks[i]).mean() < 0.004


def disc(r: float) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    inside: npt.NDArray[np.bool_] = (y - 40) ** 2 + (x - 50) ** 2 < r * r
    return inside


def answers_of(radii: list[float], scores: list[float]) -> Answer:
    return Answer([encode(disc(r)) for r in radii], np.array(scores, dtype=np.float32))


def test_masks_of_a_prompt_are_a_hierarchy_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [answers_of([30, 20, 10], [0.5, 0.9, 0.7]), answers_of([15, 0, 25], [0.2, 0.4, 0.3])]
    monkeypatch.setattr(Session, "ask", lambda self, prompts: made)
    questions = [Question("", POINT, "a"), Question("", BOX, "b", 17)]
    found = answer(PromptableModel(make_sam()).eval(), picture(*SIZE), 1, questions)
    assert [a["score"] for a in found] == pytest.approx([0.9, 0.7, 0.5, 0.4, 0.3, 0.2])
    assert [a["prompt_id"] for a in found] == ["a"] * 3 + ["b"] * 3
    assert [a.get("target_id") for a in found] == [None] * 3 + [17] * 3
    assert [a["parent"] for a in found] == [2, 0, None, None, None, 4]
    assert [a["granularity"] for a in found[:3]] == pytest.approx([0.55, 0.1, 1.0], abs=0.02)
    assert found[3]["area"] == 0  # an answer, if an empty one
    assert found[0]["prompt"] == {"points": POINT.points, "labels": (1,)}
    assert found[3]["prompt"] == {"points": (), "labels": (), "box": BOX.box}


def test_an_image_without_prompts_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Session, "set_image")
    assert answer(PromptableModel(make_sam()).eval(), picture(*SIZE), 1, []) == []


def test_clicks_end_where_the_mask_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    model = PromptableModel(make_sam()).eval()
    target = disc(30)
    sequence = [[5.0, 10.0, 20.0], [27.0], [29.9], [30.0]]
    asked: list[int] = []

    def finish(self: Session, masks: Any) -> list[Answer]:
        radii = sequence[len(asked)]
        asked.append(len(radii))
        return [answers_of(radii, [0.5] * (masks.scores.shape[1] - 1) + [0.6])]

    monkeypatch.setattr(Session, "_finish", finish)
    question = Question("", Prompt(((50.0, 40.0),), (1,)), 5, 5, encode(target))
    found = answer(model, picture(*SIZE), 1, [question], clicks=10)
    assert (disc(27).sum() / target.sum() < 0.9) == (len(asked) == 3)
    assert [a["clicks"] for a in found] == [1, 1, 1, *range(2, len(asked) + 1)]
    assert [a["prompt"]["points"][0] for a in found] == [(50.0, 40.0)] * len(found)
    assert {a["target_id"] for a in found} == {5}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"points": ((1.0, 2.0, 1),), "prompts_from": "gt.json"}, "cannot be combined"),
        ({"clicks": 3}, "--clicks needs --prompts-from"),
        ({"clicks": 3, "approximate": True, "prompts_from": "x"}, "uses exact centres"),
    ],
)
def test_settings_that_contradict_each_other(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PromptedSettings(**wrong)
