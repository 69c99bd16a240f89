"""Validation of a promptable model during its training: IoU of the answers to clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import UnsamError
from unsam_cli.evaluation.clicks import centre_click
from unsam_cli.rle import Rle, iou
from unsam_cli.sam.promptable import Promptable
from unsam_cli.sam.session import Session
from unsam_cli.sam.settings import Prompt
from unsam_cli.training.dataset import AnnotatedImages
from unsam_cli.training.recipe import DataSettings
from unsam_cli.training.skipped import Skipped, reason_to_skip
from unsam_cli.training.task import Validated


class PromptedValidation:
    """Clicks once on the centre of every mask and compares the answers with it.

    Parameters
    ----------
    truth : Path
        Masks file that lists its images.
    folder : Path
        Folder of the images.
    crowds : {'ignore', 'masks'}
        Whether crowd regions are ignored or count as masks.
    on_error : {'fail', 'skip'}
        Whether an image that cannot be read, or an invalid annotation, is an error or is left out.

    Raises
    ------
    UnsamError
        The file is missing or invalid or has no masks, or the first image does not exist.
    """

    def __init__(
        self,
        truth: Path,
        folder: Path,
        *,
        crowds: str = "ignore",
        on_error: Literal["fail", "skip"] = "fail",
    ) -> None:
        self._settings = DataSettings(max_masks=0, crowds=crowds, on_error=on_error)
        self._images = AnnotatedImages([truth], folder, self._settings)

    def __call__(self, model: Promptable) -> Validated:
        """Evaluate a model in evaluation mode.

        Returns
        -------
        Validated
            Mean IoU over masks, 0 to 1. ``graded``: of the answer to a click with the mask's
            annotated granularity, if the model supports granularity and masks have it; it then
            comes first. ``oracle``: of the best answer to a click. ``1-IoU``: of the answer with
            the highest score.

        Raises
        ------
        UnsamError
            An image cannot be read, or does not fit its annotations; if such images are left
            out, it is the error of the last of all.
        """
        tables, skipped = list[NDArray[np.float64]](), list(self._images.strays)
        session, last = Session(model), len(self._images) - 1
        for index in range(len(self._images)):
            try:
                tables.append(self._table(session, index))
            except UnsamError as error:
                left = tables or index < last
                reason = reason_to_skip(error, self._settings.on_error if left else "fail")
                skipped.append(Skipped(self._images.info(index).file_name, reason))
            skipped += self._images.left_out(index)
        rows = np.concatenate(tables)
        with_grade = rows[~np.isnan(rows[:, 2])]
        found = {"graded": float(with_grade[:, 2].mean())} if len(with_grade) else {}
        found |= {"oracle": float(rows[:, 0].mean()), "1-IoU": float(rows[:, 1].mean())}
        return Validated(found, skipped)

    def _table(self, session: Session, index: int) -> NDArray[np.float64]:
        """Return the IoU of an image's masks with the answers, (n, 3): best, first, graded."""
        session.set_image(self._images.pixels(index))
        annotations = self._images.annotations(index, np.random.default_rng(0))
        masks = [a.rle for a in annotations]
        clicks = [centre_click(rle) for rle in masks]
        answers = session.ask([Prompt((click,), (1,)) for click in clicks])
        table = np.full((len(masks), 3), np.nan)
        for row, rle, answer in zip(table, masks, answers, strict=True):
            overlaps = _overlaps(rle, answer.rles)
            row[:2] = overlaps.max(), overlaps[answer.scores.argmax()]
        if session.model.granularity is not None:
            graded = [i for i, a in enumerate(annotations) if a.granularity is not None]
            asked = [
                Prompt((clicks[i],), (1,), granularity=annotations[i].granularity) for i in graded
            ]
            for i, answer in zip(graded, session.ask(asked), strict=True):
                table[i, 2] = _overlaps(masks[i], answer.rles)[0]
        return table


def _overlaps(rle: Rle, answers: list[Rle]) -> NDArray[np.float64]:
    overlaps: NDArray[np.float64] = iou([rle], answers)[0]
    return overlaps
