"""What is asked about an image, and what counts as right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prompted_scenes import nested_scene

from unsam_cli.sam.prompts import Prompts
from unsam_cli.sam.settings import PromptableConfig
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.prompted.questions import Questions, correct, draw_questions
from unsam_cli.training.prompted.settings import PromptSettings

pytestmark = pytest.mark.torch

SIDE = 64
_, MASKS = nested_scene(3, SIDE)
BITS = BitMasks.pack(MASKS, (SIDE, SIDE))
FINENESS = np.array([1.0, 0.55, 0.1] * 2, dtype=np.float32)


def ask(
    *, levels: int = 3, graded: bool = False, seed: int = 0, **settings: object
) -> list[Questions]:
    parts = PromptableConfig(levels, granularity=graded)
    fineness = FINENESS if graded else None
    chosen = PromptSettings(**{"clicks": 40, **settings})  # type: ignore[arg-type]
    return list(draw_questions(BITS, fineness, parts, chosen, np.random.default_rng(seed)))


def containing(x: int, y: int) -> set[int]:
    return {i for i, mask in enumerate(MASKS) if mask[y, x]}


def test_all_masks_that_contain_a_click_are_right() -> None:
    (questions,) = ask()
    assert questions.multimask
    assert len(questions) == 40
    # Shuffled and repeated: none is clicked twice more often than another.
    counts = np.bincount(questions.clicked.numpy(), minlength=6)
    assert set(counts.tolist()) == {6, 7}
    points = questions.prompts.points
    assert points is not None
    for (x, y), mask, targets in zip(
        points[:, 0].int().tolist(), questions.clicked.tolist(), questions.targets, strict=True
    ):
        right = {t for t in targets.tolist() if t >= 0}
        assert mask in right
        assert right == containing(x, y)
    assert questions.pairs(2) == int((questions.targets >= 0).sum()) + 80


def test_targets_are_cut_to_the_number_of_answers() -> None:
    masks = BitMasks.pack([MASKS[0]] * 9, (SIDE, SIDE))
    settings = PromptSettings(clicks=200)
    for levels in (3, 6):
        (questions,) = draw_questions(
            masks,
            None,
            PromptableConfig(levels),
            settings,
            np.random.default_rng(0),
        )
        assert questions.targets.shape == (200, levels)
        assert all(len(set(row)) == levels for row in questions.targets.tolist())
        # Which of them is left to chance.
        assert len(torch.unique(questions.targets)) == 9


def test_clicks_are_spread_evenly() -> None:
    masks = BitMasks.pack([MASKS[1]], (SIDE, SIDE))
    (questions,) = draw_questions(
        masks,
        None,
        PromptableConfig(),
        PromptSettings(clicks=4000),
        np.random.default_rng(0),
    )
    points = questions.prompts.points
    assert points is not None
    x, y = points[:, 0].long().T.numpy()
    assert MASKS[1][y, x].all()
    rows, columns = np.nonzero(MASKS[1])
    assert abs(x.mean() - columns.mean()) < 4 * columns.std() / 4000**0.5
    assert abs(y.std() - rows.std()) < 0.05 * rows.std()


def test_kinds_of_prompts() -> None:
    found = ask(graded=True, boxes=0.5)
    kinds = {(q.prompts.boxes is not None, q.prompts.granularity is not None) for q in found}
    assert kinds == {(False, False), (False, True), (True, False), (True, True)}
    assert sum(len(q) for q in found) == 40
    assert sum(len(q) for q in found if q.prompts.granularity is not None) == 20
    for questions in found:
        plain = questions.prompts.boxes is None and questions.prompts.granularity is None
        assert questions.multimask == plain
        if not plain:
            assert torch.equal(questions.targets, questions.clicked[:, None])
        if questions.prompts.granularity is not None:
            expected = torch.from_numpy(FINENESS)[questions.clicked]
            assert torch.equal(questions.prompts.granularity, expected)


def test_boxes_are_a_little_off() -> None:
    (questions,) = ask(boxes=1.0, clicks=300)
    boxes, off = questions.prompts.boxes, []
    assert boxes is not None
    for box, mask in zip(boxes.numpy(), questions.clicked.tolist(), strict=True):
        y, x = np.nonzero(MASKS[mask])
        off.append(box - np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]))
    assert np.abs(off).max() <= 20 / 1024 * SIDE + 1e-5
    assert np.abs(off).mean() > 0.5
    assert abs(np.mean(off)) < 0.1


def test_single_masks_and_seeds() -> None:
    (questions,) = ask(single_mask=True)
    assert questions.multimask
    assert torch.equal(questions.targets, questions.clicked[:, None])
    (same,) = ask(single_mask=True)
    (other,) = ask(single_mask=True, seed=1)
    assert torch.equal(questions.clicked, same.clicked)
    assert not torch.equal(questions.clicked, other.clicked)


def test_no_masks_no_questions() -> None:
    nothing = BitMasks.pack([], (SIDE, SIDE))
    assert not draw_questions(
        nothing,
        None,
        PromptableConfig(),
        PromptSettings(),
        np.random.default_rng(0),
    )


def test_corrections_click_where_the_best_answer_is_wrong() -> None:
    low = SIDE // 4
    small = torch.from_numpy(MASKS[0]).reshape(low, 4, low, 4).float().mean((1, 3))
    good = small - 0.5
    good[: low // 2] = -1.0  # its upper half is missing
    good[-1, -1] = 1.0
    logits = torch.stack([torch.full((low, low), 0.5), good])[None].repeat(50, 1, 1, 1)
    clicked = torch.zeros(50, dtype=torch.int64)
    before = Prompts(torch.full((50, 1, 2), 7.0), torch.ones(50, 1, dtype=torch.int64))
    after = correct(before, logits, BITS, clicked, torch.Generator().manual_seed(0))
    assert after.masks is not None
    assert torch.equal(after.masks[:, 0], good.expand(50, -1, -1))
    assert after.points is not None
    assert after.labels is not None
    assert torch.equal(after.points[:, 0], torch.full((50, 2), 7.0))
    for (x, y), label in zip(after.points[:, 1].tolist(), after.labels[:, 1].tolist(), strict=True):
        column, row = int((x + 0.5) // 4), int((y + 0.5) // 4)
        assert (x + 0.5) % 4 == (y + 0.5) % 4 == 2  # the centre of a pixel of the answer
        assert label == bool(small[row, column] >= 0.5)
        assert label != bool(good[row, column] > 0)
