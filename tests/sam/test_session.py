"""Questions about one image, and where to click."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sam_models import make_original, make_sam, make_sam2, picture
from scipy.ndimage import distance_transform_edt

from unsam_cli.evaluation.clicks import (
    approximate_distance,
    centre_click,
    next_click,
    simulate_clicks,
)
from unsam_cli.rle import decode, encode
from unsam_cli.sam.loading import load_promptable
from unsam_cli.sam.model import PromptableModel
from unsam_cli.sam.session import Session
from unsam_cli.sam.settings import Prompt, PromptableConfig

pytestmark = pytest.mark.torch

SIZE = (90, 121)
QUESTIONS = [
    Prompt(((30.0, 20.0),), (1,)),
    Prompt(box=(10.0, 10.0, 60.0, 80.0)),
    Prompt(((30.0, 20.0), (100.0, 70.0)), (1, 0)),
    Prompt(((100.0, 80.0),), (1,)),
    Prompt(((30.0, 20.0),), (1,), box=(10.0, 10.0, 60.0, 80.0)),
    *(Prompt(((10.0 + i, 50.0),), (1,)) for i in range(5)),
]


@pytest.fixture(scope="module", params=[make_sam, make_sam2])
def session(request: pytest.FixtureRequest) -> Session:
    model = PromptableModel(request.param(), PromptableConfig(granularity=True)).eval()
    session = Session(model)
    session.set_image(picture(*SIZE))
    return session


def blobs(seed: int, size: tuple[int, int] = SIZE) -> npt.NDArray[np.bool_]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    mask = np.zeros(size, bool)
    for _ in range(3):
        cy, cx, r = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(3, 30)
        mask |= (y - cy) ** 2 + (x - cx) ** 2 < r * r
    return mask


def test_every_prompt_is_answered_in_its_place(session: Session) -> None:
    answers = session.ask(QUESTIONS)
    # Only a single click is ambiguous.
    assert [len(answer.rles) for answer in answers] == [3, 1, 1, 3, 1, *[3] * 5]
    for prompt, answer in zip(QUESTIONS, answers, strict=True):
        assert len(answer.rles) == len(answer.scores)
        assert answer.rles[0]["size"] == list(SIZE)
        alone = session.ask([prompt])[0]
        np.testing.assert_allclose(alone.scores, answer.scores, atol=1e-4)
        assert [
            (decode(a) ^ decode(b)).sum() <= 2 for a, b in zip(alone.rles, answer.rles, strict=True)
        ]
    assert answers[0].rles != answers[3].rles


def test_granularity_is_answered_with_one_mask(session: Session) -> None:
    fine = Prompt(((30.0, 20.0),), (1,), granularity=0.1)
    coarse = Prompt(((30.0, 20.0),), (1,), granularity=1.0)
    answers = session.ask([QUESTIONS[0], fine, coarse])
    assert [len(answer.rles) for answer in answers] == [3, 1, 1]
    assert answers[1].rles != answers[2].rles


def test_masks_are_those_of_segment_anything(tmp_path: Any) -> None:
    from segment_anything import SamPredictor

    original = make_original()
    torch.save(original.state_dict(), tmp_path / "sam.pth")
    session = Session(load_promptable(str(tmp_path / "sam.pth")))
    session.set_image(picture(*SIZE))
    predictor = SamPredictor(original)
    predictor.set_image(picture(*SIZE))
    for prompt, answer in zip(QUESTIONS, session.ask(QUESTIONS), strict=True):
        masks, scores, _ = predictor.predict(
            np.array(prompt.points) if prompt.points else None,
            np.array(prompt.labels) if prompt.points else None,
            None if prompt.box is None else np.array(prompt.box),
            multimask_output=len(answer.rles) > 1,
        )
        np.testing.assert_allclose(answer.scores, scores, atol=1e-4)
        for mask, rle in zip(masks, answer.rles, strict=True):
            assert (mask ^ decode(rle)).sum() <= 2


def test_clicks_can_be_simulated(session: Session) -> None:
    target = blobs(1)
    ious = simulate_clicks(session, target, max_clicks=4)
    assert len(ious) == 4
    session.set_image(picture(*SIZE))
    np.testing.assert_array_equal(simulate_clicks(session, target, max_clicks=4), ious)


def test_a_later_click_refines_the_mask_before(session: Session) -> None:
    points, labels = np.array([[30, 20], [100, 70]]), np.array([1, 0])
    session.set_image(picture(*SIZE))
    at_once = session.predict(points, labels)
    session.predict(points[:1], labels[:1])
    refined = session.predict(points, labels)
    assert refined.shape == at_once.shape == SIZE
    assert (refined != at_once).any()


@pytest.mark.parametrize("seed", range(8))
def test_the_centre_is_farthest_from_the_border(seed: int) -> None:
    mask = blobs(seed)
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = divmod(int(depth.argmax()), mask.shape[1])
    assert centre_click(encode(mask)) == (x, y)
    click = next_click(mask, np.zeros_like(mask))
    assert click == (x, y, 1)


def test_the_centre_of_a_pixel_and_of_everything() -> None:
    mask = np.zeros((6, 9), bool)
    mask[5, 8] = True
    assert centre_click(encode(mask)) == (8, 5)
    assert centre_click(encode(np.ones((5, 9), bool))) == (2, 2)
    with pytest.raises(ValueError, match="no pixel to click"):
        centre_click(encode(np.zeros((5, 9), bool)))


def test_the_approximate_distance_is_that_of_its_formula() -> None:
    inside = np.zeros((7, 7), bool)
    inside[1:6, 1:6] = True
    found = approximate_distance(inside)
    side, corner = np.exp(-1 / 0.35), np.exp(-np.sqrt(2) / 0.35)
    edge = -0.35 * np.log(side + 2 * corner)  # three pixels outside touch it
    assert found[1, 3] == pytest.approx(edge, abs=1e-5)
    assert found[2, 3] == pytest.approx(1 + edge, abs=1e-5)
    ring = -0.35 * np.log(4 * side + 4 * corner)  # all around the last one
    assert found[3, 3] == pytest.approx(2 + ring, abs=1e-5)
    assert not found[~inside].any()


@pytest.mark.parametrize("seed", range(4))
def test_the_approximate_centre_is_deep_inside(seed: int) -> None:
    mask = blobs(seed)
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    x, y = centre_click(encode(mask), approximate=True)
    assert depth[y, x] > 0.7 * depth.max()
    whole = approximate_distance(np.pad(mask, 1))[1:-1, 1:-1]
    assert (y, x) == divmod(int(whole.argmax()), mask.shape[1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "needs points or a box"),
        ({"points": ((1.0, 2.0),)}, "1 point with 0 labels"),
        ({"points": ((1.0, 2.0),), "labels": (2,)}, "a label is 1"),
        ({"box": (1.0, 1.0, 2.0, 2.0), "granularity": 0.0}, "granularity is 0.0"),
    ],
)
def test_impossible_prompts_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prompt(**wrong)
