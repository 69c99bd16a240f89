"""One image and a promptable model: prompts in, annotations out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.evaluation.clicks import NOC_LEVELS, simulate_clicks
from unsam_cli.found_masks import FoundMask, FoundMasks, annotate
from unsam_cli.io.windows import Pixels
from unsam_cli.prediction.predict import STAGE
from unsam_cli.prediction.prompted.questions import Question
from unsam_cli.prediction.prompted.settings import PromptedSettings
from unsam_cli.prediction.prompted.tiled import TiledSession, search
from unsam_cli.prediction.settings import TileSettings
from unsam_cli.rle import RunTable, decode
from unsam_cli.sam.promptable import Promptable
from unsam_cli.sam.session import Answer, Session, clicked
from unsam_cli.sam.settings import Prompt

Annotations = list[dict[str, Any]]


def find_all(
    model: Promptable, rgb: Pixels, image_id: int, settings: PromptedSettings
) -> Annotations:
    """Search for all masks of an image, without prompts.

    Parameters
    ----------
    model : Promptable
        The model, in evaluation mode.
    rgb : (H, W, 3) uint8
        The image.
    image_id : int
        Id of the image in the annotations.
    settings : PromptedSettings
        How to search.

    Returns
    -------
    list of dict
        Annotations by falling score, with the point and the stability of each mask.
    """
    found = search(model, rgb, settings)
    n = len(found)
    table = RunTable.from_rles(found.rles, size=(rgb.shape[0], rgb.shape[1]))
    masks = FoundMasks(table, found.scores.astype(np.float64), [STAGE] * n, [None] * n)
    annotations = annotate(image_id, masks)
    for annotation, point, stability in zip(
        annotations, found.points.tolist(), found.stability.tolist(), strict=True
    ):
        annotation["stability_score"] = round(stability, 6)
        annotation["prompt"] = {"points": [point], "labels": [1]}
        if settings.granularity is not None:
            annotation["granularity"] = settings.granularity
    return annotations


def answer(
    model: Promptable,
    rgb: Pixels,
    image_id: int,
    questions: Sequence[Question],
    *,
    clicks: int | None = None,
    tiles: TileSettings | None = None,
) -> Annotations:
    """Answer the prompts of an image.

    Parameters
    ----------
    model : Promptable
        The model, in evaluation mode.
    rgb : (H, W, 3) uint8
        The image.
    image_id : int
        Id of the image in the annotations.
    questions : sequence of Question
        The prompts.
    clicks : int, optional
        Largest number of simulated clicks per mask. The questions must then have targets.
    tiles : TileSettings, optional
        Tiles that a large image is cut into, see :class:`TiledSession`; not with `clicks`.

    Returns
    -------
    list of dict
        Annotations of all masks of the first prompt by falling score, then of the next prompt.
        Parents and granularities refer to the masks of the same prompt. A granularity in the prompt
        is kept.
    """
    if not questions:
        return []
    found: Annotations = []
    if clicks is None:
        asking = TiledSession(model, tiles or TileSettings())
        asking.set_image(rgb)
        answers = asking.ask([question.prompt for question in questions])
        for question, one in zip(questions, answers, strict=True):
            _append(found, _describe(image_id, question, one, asking.size))
        return found
    session = Session(model)
    session.set_image(rgb)
    for question in questions:
        for number, (prompt, one) in enumerate(_click(session, question, clicks), start=1):
            asked = replace(question, prompt=prompt)
            described = _describe(image_id, asked, one, session.size)
            _append(found, [{**mask, "clicks": number} for mask in described])
    return found


class _Clicked:
    """A session of clicks for one mask, with a record of its prompts and answers."""

    def __init__(self, session: Session, granularity: float | None) -> None:
        self._session, self._granularity = session, granularity
        self.said: list[tuple[Prompt, Answer]] = []

    def predict(self, points: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        prompt = clicked(points, labels, self._granularity)
        self.said.append((prompt, self._session.click(prompt)))
        return self.said[-1][1].best


def _click(session: Session, question: Question, clicks: int) -> list[tuple[Prompt, Answer]]:
    """Simulate clicks; return the prompt and the answer after each click."""
    assert question.target is not None
    seen = _Clicked(session, question.prompt.granularity)
    simulate_clicks(seen, decode(question.target), max_clicks=clicks, stop=NOC_LEVELS[-1])
    return seen.said


def _describe(image_id: int, question: Question, one: Answer, size: tuple[int, int]) -> Annotations:
    """Return the masks of one prompt as annotations, by falling score."""
    scored = zip(one.rles, one.scores.tolist(), strict=True)
    masks = [FoundMask(rle, score, STAGE) for rle, score in scored]
    prompt, target = question.prompt, question.target_id
    asked: dict[str, Any] = {"points": prompt.points, "labels": prompt.labels}
    if prompt.box is not None:
        asked["box"] = prompt.box
    graded = {} if prompt.granularity is None else {"granularity": prompt.granularity}
    about = {
        **graded,
        "prompt_id": question.prompt_id,
        **({} if target is None else {"target_id": target}),
        "prompt": asked | graded,
    }
    return [mask | about for mask in annotate(image_id, FoundMasks.of(masks, size))]


def _append(found: Annotations, masks: Annotations) -> None:
    """Append masks, and shift their parents, which are indices into `masks`."""
    base = len(found)
    for mask in masks:
        parent = mask["parent"]
        found.append({**mask, "parent": None if parent is None else base + parent})
