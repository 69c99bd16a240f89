"""Answers to prompts: those of transformers where nothing is added, and what new parts do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sam_models import SIDE, make_sam, make_sam2, picture
from torch.testing import assert_close

from unsam_cli.errors import UsageError
from unsam_cli.sam.granularity import fourier_features
from unsam_cli.sam.model import PromptableModel
from unsam_cli.sam.prompts import Prompts
from unsam_cli.sam.settings import PromptableConfig

pytestmark = pytest.mark.torch

POINTS = torch.tensor(
    [[[20.0, 30.5], [90.0, 77.0]], [[64.0, 64.0], [3.0, 120.0]], [[5.0, 5.0]] * 2]
)
LABELS = torch.tensor([[1, 0], [1, 1], [1, 1]])
BOXES = torch.tensor([[10.0, 10.0, 60.0, 80.0], [0.0, 0.0, 127.0, 127.0], [50.0, 9.0, 99.0, 30.0]])
EARLIER = torch.randn((1, 1, SIDE // 4, SIDE // 4), generator=torch.Generator().manual_seed(3))
KINDS = {
    "points": Prompts(POINTS, LABELS),
    "boxes": Prompts(boxes=BOXES),
    "both": Prompts(POINTS, LABELS, BOXES),
    "masks": Prompts(POINTS[:1], LABELS[:1], masks=EARLIER),
}


@pytest.fixture(scope="module", params=[make_sam, make_sam2])
def network(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture(scope="module")
def model(network: Any) -> PromptableModel:
    return PromptableModel(network).eval()


def look(model: PromptableModel, seed: int = 0) -> Any:
    image = picture(SIDE, SIDE, seed)
    with torch.no_grad():
        return model.embed(model.frame((SIDE, SIDE)).pixels(image)[None])


def ask_transformers(model: PromptableModel, prompts: Prompts, *, multimask: bool) -> Any:
    embedding = look(model)
    features = [*embedding.high, embedding.image] if embedding.high else embedding.image
    return model.network(
        image_embeddings=features,
        input_points=None if prompts.points is None else prompts.points[None],
        input_labels=None if prompts.labels is None else prompts.labels[None],
        input_boxes=None if prompts.boxes is None else prompts.boxes[None],
        input_masks=prompts.masks,
        multimask_output=multimask,
    )


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_answers_are_those_of_transformers_bit_for_bit(
    model: PromptableModel, kind: str, multimask: bool
) -> None:
    expected = ask_transformers(model, KINDS[kind], multimask=multimask)
    answer = model.decode(look(model), KINDS[kind], multimask=multimask)
    assert torch.equal(answer.logits, expected.pred_masks[0])
    assert torch.equal(answer.scores, expected.iou_scores[0])
    assert answer.logits.std() > 0.5  # not just zeros


@torch.no_grad()
def test_features_are_those_of_transformers(model: PromptableModel) -> None:
    pixels = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    embedding = model.embed(pixels)
    expected = model.network.get_image_embeddings(pixels)
    expected = [expected] if isinstance(expected, torch.Tensor) else expected
    for ours, theirs in zip([*embedding.high, embedding.image], expected, strict=True):
        assert torch.equal(ours, theirs)
    assert len(embedding) == 2
    assert torch.equal(embedding[1].image, embedding.image[1:])


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_folding_changes_only_the_rounding(model: PromptableModel, kind: str) -> None:
    for multimask in (True, False):
        exact = model.decode(look(model), KINDS[kind], multimask=multimask)
        fast = model.decode(look(model), KINDS[kind], multimask=multimask, fold=True)
        assert_close(fast.logits, exact.logits, rtol=1e-5, atol=1e-5 * float(exact.logits.std()))
        assert_close(fast.scores, exact.scores, rtol=1e-5, atol=1e-5)


def test_folding_keeps_the_gradients(network: Any) -> None:
    model = PromptableModel(network, PromptableConfig(4, granularity=True)).eval()
    prompts = Prompts(POINTS, LABELS, granularity=torch.tensor([0.1, 0.5, 1.0]))
    gradients = []
    for fold in (False, True):
        model.zero_grad()
        answer = model.decode(look(model), prompts, fold=fold)
        (answer.logits.tanh().sum() + answer.scores.sum()).backward()  # type: ignore[no-untyped-call]
        named = dict(model.named_parameters())
        gradients.append({k: p.grad.clone() for k, p in named.items() if p.grad is not None})
    exact, fast = gradients
    # The bias of keys changes nothing: its gradient is rounding, or not even computed.
    sizes = {k: float(g.abs().max()) for k, g in exact.items() if not k.endswith("k_proj.bias")}
    used = [name for name, size in sizes.items() if size > 0]
    assert len(used) > 50
    for name in used:
        assert_close(fast[name], exact[name], rtol=1e-3, atol=1e-3 * sizes[name] + 1e-4, msg=name)


@torch.no_grad()
def test_prompts_do_not_see_each_other(model: PromptableModel) -> None:
    prompts, embedding = KINDS["both"], look(model)
    for fold in (False, True):
        together = model.decode(embedding, prompts, fold=fold)
        alone = model.decode(embedding, prompts[1:2], fold=fold)
        assert_close(alone.logits[0], together.logits[1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_masks_are_made_for_those_that_are_asked_for(model: PromptableModel) -> None:
    for fold in (False, True):
        found = model.attend(look(model), KINDS["points"], fold=fold)
        rows = torch.tensor([2, 0])
        assert_close(found.logits(rows), found.logits()[rows], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_granularity_changes_nothing_where_it_is_not_asked_for(model: PromptableModel) -> None:
    more = PromptableModel(model.network, PromptableConfig(granularity=True)).eval()
    for multimask in (True, False):
        expected = model.decode(look(model), KINDS["points"], multimask=multimask)
        answer = more.decode(look(more), KINDS["points"], multimask=multimask)
        assert torch.equal(answer.logits, expected.logits)
        assert torch.equal(answer.scores, expected.scores)


@torch.no_grad()
def test_granularity_is_answered_with_one_mask_that_depends_on_it(network: Any) -> None:
    model = PromptableModel(network, PromptableConfig(granularity=True)).eval()
    point, label = POINTS[:1].expand(3, -1, -1), LABELS[:1].expand(3, -1)
    prompts = Prompts(point, label, granularity=torch.tensor([0.1, 0.5, 1.0]))
    answer = model.decode(look(model), prompts)
    assert answer.logits.shape == (3, 1, SIDE // 4, SIDE // 4)
    assert answer.scores.shape == (3, 1)
    assert not torch.allclose(answer.logits[0], answer.logits[1])
    assert not torch.allclose(answer.logits[1], answer.logits[2])


@pytest.mark.parametrize("count", [4, 6])
@torch.no_grad()
def test_new_masks_start_near_those_they_are_copies_of(network: Any, count: int) -> None:
    model = PromptableModel(network, PromptableConfig(count), seed=1).eval()
    answer = model.decode(look(model), KINDS["points"])
    assert answer.logits.shape == (3, count, SIDE // 4, SIDE // 4)
    assert answer.scores.shape == (3, count)
    for new in range(3, count):
        near = np.corrcoef(answer.logits[:, new].flatten(), answer.logits[:, new - 3].flatten())
        assert near[0, 1] > 0.9
        assert not torch.equal(answer.logits[:, new], answer.logits[:, new - 3])
    same = PromptableModel(network, PromptableConfig(count), seed=1).eval()
    assert torch.equal(same.decode(look(same), KINDS["points"]).logits, answer.logits)


def test_granularity_needs_its_part(model: PromptableModel) -> None:
    prompts = Prompts(POINTS, LABELS, granularity=torch.ones(3))
    with pytest.raises(UsageError, match="fine-tune it with --granularity"):
        model.decode(look(model), prompts)


def test_fourier_features_tell_granularities_apart() -> None:
    features = fourier_features(torch.tensor([0.1, 0.2, 1.0]))
    assert features.shape == (3, 128)
    fastest = 2 * np.pi * 0.1
    assert_close(features[0, :2], torch.tensor([np.sin(fastest), np.cos(fastest)]).float())
    slowest = 2 * np.pi * 0.1 / 100 ** (126 / 128)
    assert_close(features[0, -2:], torch.tensor([np.sin(slowest), np.cos(slowest)]).float())
    assert torch.cdist(features, features).fill_diagonal_(9).min() > 0.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "needs points, a box or a mask"),
        ({"granularity": torch.ones(1)}, "needs points, a box or a mask"),
        ({"points": POINTS}, "points need labels"),
        ({"boxes": BOXES, "granularity": torch.ones(2)}, "3 boxes, 2 granularity"),
    ],
)
def test_impossible_prompts_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prompts(**wrong)


def test_impossible_numbers_of_masks_are_refused() -> None:
    for count in (0, 2, 7):
        with pytest.raises(UsageError, match="at least 3 and at most 6"):
            PromptableConfig(count)


@pytest.mark.parametrize(("square", "inner"), [(False, (96, 128)), (True, (128, 128))])
def test_points_land_on_what_they_were_on(square: bool, inner: tuple[int, int]) -> None:
    from unsam_cli.sam.frame import Frame

    image = np.zeros((300, 400, 3), np.uint8)
    image[150:156, 300:304] = 255
    frame = Frame.of((300, 400), SIDE, square=square)
    assert frame.inner == inner
    pixels = frame.pixels(image)
    x, y = frame.inwards(torch.tensor([301.5, 152.5])).round().int().tolist()
    row, column = divmod(int(pixels[0].argmax()), SIDE)
    assert abs(row - y) <= 1
    assert abs(column - x) <= 1
    assert not pixels[:, inner[0] :].any()
