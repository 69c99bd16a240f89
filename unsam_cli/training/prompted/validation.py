"""Validation of a promptable model during its training: IoU of the answers to clicks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unsam_cli.evaluation.clicks import centre_click
from unsam_cli.rle import Rle, iou
from unsam_cli.sam.promptable import Promptable
from unsam_cli.sam.session import Session
from unsam_cli.sam.settings import Prompt
from unsam_cli.training.dataset import AnnotatedImages
from unsam_cli.training.recipe import DataSettings


class PromptedValidation:
    """Clicks once on the centre of every mask and compares the answers with it.

    Parameters
    ----------
    truth : Path
        Masks file that lists its images.
    folder : Path
        Folder of the images.

    Raises
    ------
    UnsamError
        The file is missing or invalid or has no masks, or the first image does not exist.
    """

    def __init__(self, truth: Path, folder: Path) -> None:
        self._images = AnnotatedImages([truth], folder, DataSettings(max_masks=0))

    def __call__(self, model: Promptable) -> dict[str, float]:
        """Evaluate a model in evaluation mode.

        Returns
        -------
        dict of float
            Mean IoU over masks, 0 to 1. ``graded``: of the answer to a click with the mask's
            annotated granularity, if the model supports granularity and masks have it; it then
            comes first. ``oracle``: of the best answer to a click. ``1-IoU``: of the answer with
            the highest score.

        Raises
        ------
        UnsamError
            An image cannot be read, or does not fit its annotations.
        """
        rows = np.concatenate([*self._measure(model)])
        with_grade = rows[~np.isnan(rows[:, 2])]
        found = {"graded": float(with_grade[:, 2].mean())} if len(with_grade) else {}
        return found | {"oracle": float(rows[:, 0].mean()), "1-IoU": float(rows[:, 1].mean())}

    def _measure(self, model: Promptable) -> Iterator[NDArray[np.float64]]:
        session, rng = Session(model), np.random.default_rng(0)
        for index in range(len(self._images)):
            session.set_image(self._images.pixels(index))
            annotations = self._images.annotations(index, rng)
            masks = [a.rle for a in annotations]
            clicks = [centre_click(rle) for rle in masks]
            answers = session.ask([Prompt((click,), (1,)) for click in clicks])
            table = np.full((len(masks), 3), np.nan)
            for row, rle, answer in zip(table, masks, answers, strict=True):
                overlaps = _overlaps(rle, answer.rles)
                row[:2] = overlaps.max(), overlaps[answer.scores.argmax()]
            if model.granularity is not None:
                graded = [i for i, a in enumerate(annotations) if a.granularity is not None]
                asked = [
                    Prompt((clicks[i],), (1,), granularity=annotations[i].granularity)
                    for i in graded
                ]
                for i, answer in zip(graded, session.ask(asked), strict=True):
                    table[i, 2] = _overlaps(masks[i], answer.rles)[0]
            yield table


def _overlaps(rle: Rle, answers: list[Rle]) -> NDArray[np.float64]:
    overlaps: NDArray[np.float64] = iou([rle], answers)[0]
    return overlaps
