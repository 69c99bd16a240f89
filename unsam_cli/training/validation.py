"""Validation of a segmenter during its training: AR and AP on annotated images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unsam_cli.errors import DataError, MissingInputError, UnsamError
from unsam_cli.evaluation.matches import Matches
from unsam_cli.evaluation.matching import candidates, match
from unsam_cli.evaluation.metrics import measure
from unsam_cli.evaluation.sets import PredictionSet, truth_set
from unsam_cli.found_masks import FoundMasks
from unsam_cli.io.masks import read_masks
from unsam_cli.io.names import Pictures
from unsam_cli.io.sizes import check_size
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.prediction.pipeline import predict_images
from unsam_cli.prediction.predict import Predictor
from unsam_cli.prediction.settings import PredictSettings
from unsam_cli.run.resources import usable_cpus
from unsam_cli.training.skipped import Skipped, as_skipped, reason_to_skip
from unsam_cli.training.task import Validated

MAX_DETS = (10, 100, 1000)
NAMES = ("AR@1000", "AR@100", "AR@10", "AP", "AP50")


@dataclass(frozen=True, slots=True)
class _Item:
    id: int
    file_name: str
    path: Path


class WholeImageValidation:
    """Predicts masks of images and evaluates them as ``unsam evaluate`` does.

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
    DataError
        The file lists no images, or has no masks.
    MissingInputError
        The file or an image does not exist.
    """

    def __init__(
        self, truth: Path, folder: Path, *, crowds: str = "ignore", on_error: str = "fail"
    ) -> None:
        self._truth, self._on_error = read_masks(truth, crowds=crowds, on_error=on_error), on_error
        if not self._truth.images or not len(self._truth):
            raise DataError(f"{truth}: validation needs a COCO file with images and masks")
        names = (image.file_name for image in self._truth.images.values())
        pictures = Pictures(folder, names)
        self._items, self._missing = list[_Item](), list[Skipped]()
        for i, image in sorted(self._truth.images.items()):
            try:
                self._items.append(_Item(i, image.file_name, pictures.find(image.file_name)))
            except UnsamError as error:
                self._missing.append(Skipped(image.file_name, reason_to_skip(error, on_error)))
        if not self._items:  # a wrong folder
            raise MissingInputError(self._missing[0].reason)

    def __call__(self, segmenter: Segmenter) -> Validated:
        """Evaluate a segmenter in evaluation mode.

        Returns
        -------
        Validated
            AR@1000 first, then AR@100, AR@10, AP and AP50, each from 0 to 1; undefined ones are
            left out.

        Raises
        ------
        UnsamError
            An image cannot be read, or has another size than its masks; if such images are left
            out, it is the error of the last of all.
        """
        predictor = Predictor(segmenter, PredictSettings(max_masks=MAX_DETS[-1]))
        matches, skipped = list[Matches](), list(self._missing)
        results = predict_images(self._items, predictor, self._match, jobs=usable_cpus())
        for item, result in results:
            if isinstance(result, UnsamError):
                left = matches or item is not self._items[-1]
                reason = reason_to_skip(result, self._on_error if left else "fail")
                skipped.append(Skipped(item.file_name, reason))
            else:
                matches.append(result)
        metrics = measure(matches, MAX_DETS)
        values = {name: value for name in NAMES if (value := metrics[name]) is not None}
        return Validated(values, [*skipped, *self._left_out()])

    def _left_out(self) -> list[Skipped]:
        if self._on_error == "fail":
            return []
        names = {item.id: item.file_name for item in self._items}
        found = [(names[i], one) for i in names for one in self._truth.left_out.of(i)]
        return as_skipped([*self._truth.strays, *found])

    def _match(self, item: _Item, found: FoundMasks) -> Matches:
        truth = truth_set(self._truth, item.id)
        check_size(item.path, found.table.size, truth.table.size)
        ranked = PredictionSet(found.table, found.score, len(found.score), category_zero=0)
        return match(candidates(truth, ranked))
