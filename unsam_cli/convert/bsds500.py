"""Read BSDS500: segmentations of several annotators, in MATLAB files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unsam_cli.convert.dataset import (
    Picture,
    SourceImage,
    Truth,
    files_below,
    numbered,
)
from unsam_cli.convert.label_maps import component_masks
from unsam_cli.convert.label_pixels import LabelArray
from unsam_cli.convert.settings import ReadSettings
from unsam_cli.errors import MaskFileError
from unsam_cli.io.files import check_regular
from unsam_cli.run.provenance import checksum


class Bsds500:
    """A folder of BSDS500; see :class:`~unsam_cli.convert.dataset.Dataset`."""

    history: Sequence[dict[str, Any]] = ()

    def __init__(self, path: Path, settings: ReadSettings) -> None:
        self.paths = files_below(path, ".mat", what="a groundTruth folder of BSDS500")
        names = [p.relative_to(path).with_suffix(".jpg") for p in self.paths]
        self.images = numbered([name.as_posix() for name in names])

    @property
    def files(self) -> Sequence[Path]:
        """Return all files of the dataset."""
        return self.paths

    def load(self, image: SourceImage) -> Picture:
        """Read the segments of each annotator; every connected piece is a mask.

        Raises
        ------
        MaskFileError
            The file is not of BSDS500, or its segmentations differ in size.
        """
        path = self.paths[image.index]
        drawn = _segmentations(path)
        h, w = drawn[0].shape
        masks = []
        for annotator, labels in enumerate(drawn, start=1):
            if labels.shape != (h, w):
                raise MaskFileError(
                    f"{path}: the segmentation of annotator {annotator} has a different size"
                )
            masks += [Truth(rle, {"annotator": annotator}) for _, rle in component_masks(labels)]
        return Picture(h, w, masks)

    def content(self, image: SourceImage) -> int | None:
        """Return a checksum of the file of an image."""
        return checksum(self.paths[image.index])


def _segmentations(path: Path) -> list[LabelArray]:
    from scipy.io import loadmat

    check_regular(path, error=MaskFileError)
    try:
        cells = loadmat(path, variable_names=["groundTruth"])["groundTruth"].ravel()
        found = [np.asarray(cell["Segmentation"].ravel()[0], dtype=np.int64) for cell in cells]
        if not found or any(labels.ndim != 2 for labels in found):
            raise ValueError("no segmentation in it")
    except Exception as error:  # damaged files may raise any error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MaskFileError(
            f"{path}: not a file of BSDS500 ({reason}); it needs groundTruth with a "
            "Segmentation per annotator"
        ) from error
    return found


def open_bsds500(name: str, path: Path, settings: ReadSettings) -> Bsds500:
    """Open a folder of BSDS500."""
    return Bsds500(path, settings)
