"""Clicks at the centres of given masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from unsam_cli.errors import DataError
from unsam_cli.evaluation.clicks import centre_click
from unsam_cli.io.annotations import Annotation
from unsam_cli.io.left_out import LeftOut
from unsam_cli.io.masks import MasksFile
from unsam_cli.io.names import paired
from unsam_cli.prediction.prompted.questions import PromptSource, Question, some
from unsam_cli.rle import area
from unsam_cli.run.items import ImageItem
from unsam_cli.sam.settings import Prompt


class MaskCentres(PromptSource):
    """One click per mask of a masks file, except crowd regions and empty masks.

    Parameters
    ----------
    masks : MasksFile
        The masks.
    name : str
        Name of the file in messages.
    approximate : bool
        Use approximate distances, see :func:`~unsam_cli.evaluation.clicks.centre_click`.
    """

    def __init__(self, masks: MasksFile, name: str, *, approximate: bool) -> None:
        self._masks, self._name, self._approximate = masks, name, approximate

    @property
    def prompts(self) -> Iterable[Prompt]:
        """None that were given."""
        return ()

    def select(self, items: Sequence[ImageItem]) -> list[ImageItem]:
        """Return the images that the file lists, with its ids, so that it can evaluate results."""
        if not self._masks.images:
            raise DataError(f"{self._name}: lists no images; give a full COCO file")
        ids = {image.file_name: i for i, image in self._masks.images.items()}
        called = paired((item.file_name for item in items), ids)
        named = [(item, called.get(item.file_name)) for item in items]
        known = [replace(item, id=ids[name]) for item, name in named if name is not None]
        if not known:
            names = some(item.file_name for item in items)
            raise DataError(
                f"{self._name}: has none of the images: their names are {names}, but "
                f"{some(ids)} in the file; remove the images from the command, and give "
                "--image-root"
            )
        return sorted(known, key=lambda item: item.id)

    def questions(self, item: ImageItem) -> list[Question]:
        """Return one click per mask of an image."""
        found = self._masks.annotations_of(item.id)
        return [self._question(a) for a in found if not a.iscrowd and area([a.rle])[0]]

    def left_out(self, item: ImageItem) -> list[LeftOut]:
        """Return the annotations of an image that have no valid mask."""
        return self._masks.left_out.of(item.id)

    @property
    def strays(self) -> list[tuple[str, LeftOut]]:
        """Annotations whose image is not listed."""
        return self._masks.strays

    def _question(self, annotation: Annotation) -> Question:
        x, y = centre_click(annotation.rle, approximate=self._approximate)
        return Question(
            f"{self._name}: annotation {annotation.id}",
            Prompt(((float(x), float(y)),), (1,)),
            annotation.id,
            annotation.id,
            annotation.rle,
        )
