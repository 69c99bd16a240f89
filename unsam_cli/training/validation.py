"""Validation of a segmenter during its training: AR and AP on annotated images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unsam_cli.errors import DataError, UnsamError
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

MAX_DETS = (10, 100, 1000)
NAMES = ("AR@1000", "AR@100", "AR@10", "AP", "AP50")


@dataclass(frozen=True, slots=True)
class _Item:
    id: int
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

    Raises
    ------
    DataError
        The file lists no images, or has no masks.
    MissingInputError
        The file or an image does not exist.
    """

    def __init__(self, truth: Path, folder: Path, *, crowds: str = "ignore") -> None:
        self._truth = read_masks(truth, crowds=crowds)
        if not self._truth.images or not len(self._truth):
            raise DataError(f"{truth}: validation needs a COCO file with images and masks")
        names = (image.file_name for image in self._truth.images.values())
        pictures = Pictures(folder, names)
        self._items = [
            _Item(i, pictures.find(image.file_name))
            for i, image in sorted(self._truth.images.items())
        ]

    def __call__(self, segmenter: Segmenter) -> dict[str, float]:
        """Evaluate a segmenter in evaluation mode.

        Returns
        -------
        dict of float
            AR@1000 first, then AR@100, AR@10, AP and AP50, each from 0 to 1; undefined ones are
            left out.

        Raises
        ------
        UnsamError
            An image cannot be read, or has another size than its masks.
        """
        predictor = Predictor(segmenter, PredictSettings(max_masks=MAX_DETS[-1]))
        matches = []
        results = predict_images(self._items, predictor, self._match, jobs=usable_cpus())
        for _, result in results:
            if isinstance(result, UnsamError):
                raise result
            matches.append(result)
        metrics = measure(matches, MAX_DETS)
        return {name: value for name in NAMES if (value := metrics[name]) is not None}

    def _match(self, item: _Item, found: FoundMasks) -> Matches:
        truth = truth_set(self._truth, item.id)
        check_size(item.path, found.table.size, truth.table.size)
        ranked = PredictionSet(found.table, found.score, len(found.score), category_zero=0)
        return match(candidates(truth, ranked))
