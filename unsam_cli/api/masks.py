"""The masks of an image, with their hierarchy."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.api import display
from unsam_cli.api.mask import Mask
from unsam_cli.api.options import settings_from, step_from
from unsam_cli.convert.filter import chosen, entries_of
from unsam_cli.convert.filter_settings import FilterSettings
from unsam_cli.errors import counted
from unsam_cli.io.annotations import Annotation, annotation
from unsam_cli.io.features import ImageEntry
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.io.masks_writer import number_annotations, write_masks
from unsam_cli.io.pictures import Picture, pixels_of
from unsam_cli.io.previews import decode_preview
from unsam_cli.run.output import publish
from unsam_cli.view.hierarchy import Forest, forest


class Masks(Sequence[Mask]):
    """The masks of an image, the best first.

    Parameters
    ----------
    found : list of dict
        Annotations as the stages return them: with the index `parent`.
    entry : ImageEntry
        The image.
    picture : Path or (H, W, 3) uint8, optional
        The image itself; without it, masks are drawn on its preview.
    history : list of dict
        The steps that made them, as in a masks file.

    Attributes
    ----------
    annotations : list of Annotation
        What a masks file says of them.
    history : list of dict
        The steps that made them.

    Examples
    --------
    >>> import unsam_cli as unsam
    >>> masks = unsam.divide(unsam.features("photo.jpg", size=128))
    >>> masks
    <Masks: 3 masks of a 96 x 128 image>
    >>> masks.label_map().shape, masks.draw().size
    ((96, 128), (128, 96))
    >>> len(masks.filter(max_masks=2).to_coco()["annotations"])
    2
    """

    def __init__(
        self,
        found: list[dict[str, Any]],
        entry: ImageEntry,
        picture: Picture | None = None,
        history: Sequence[dict[str, Any]] = (),
    ) -> None:
        size, place = (entry.height, entry.width), entry.georeference
        self._info = info = ImageInfo(entry.id, entry.file_name, *size, place)
        numbered = list(number_annotations([[dict(one) for one in found]]))
        self.annotations = [
            annotation(a, number=a["id"], image_id=entry.id, image=info) for a in numbered
        ]
        self._entry, self._picture, self.history = entry, picture, list(history)

    @classmethod
    def from_annotations(
        cls,
        annotations: list[Annotation],
        entry: ImageEntry,
        picture: Picture | None = None,
        history: Sequence[dict[str, Any]] = (),
    ) -> Masks:
        """Make masks of annotations that were read from a file."""
        masks = cls([], entry, picture, history)
        masks.annotations = annotations
        return masks

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image, in pixels."""
        return self._entry.height, self._entry.width

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """The image, (H, W, 3) uint8; its preview, or white, if there is no image."""
        if self._picture is not None:
            return pixels_of(self._picture)
        if self._entry.preview:
            return decode_preview(self._entry.preview)
        return np.full((*self.size, 3), 255, np.uint8)

    @property
    def tree(self) -> list[Mask]:
        """The roots of the hierarchy, the best first; their `children` lead to the others."""
        return [self[int(i)] for i in np.flatnonzero(self._above < 0)]

    def at(self, granularity: float) -> Masks:
        """Return the masks that are at least this coarse, from 0.1 (all) to 1 (wholes only).

        The report of ``unsam view`` shows the same masks at this place of its slider.
        """
        return self.filter(granularity=(granularity, 1.0))

    def filter(self, **options: Any) -> Masks:
        """Return some of the masks, as ``unsam filter``; a parent that is dropped is skipped.

        Parameters
        ----------
        **options
            Options of ``unsam filter`` by name: `min_score`, `min_area`, `max_area`, `level`,
            `granularity`, `stage`, `inside`, `nms_iou`, `max_masks`.

        Raises
        ------
        UsageError
            There is no such option, or a value is outside its range.
        """
        settings = settings_from(FilterSettings, options)
        kept = entries_of(chosen(self.annotations, settings), self.annotations, ids=True)
        history = [*self.history, step_from("filter", settings, seed=0)]
        return Masks(kept, self._entry, self._picture, history)

    def label_map(self) -> NDArray[np.int32]:
        """Paint all masks into one map, (H, W) int32, parts over wholes.

        A value is the index of the mask plus 1; 0 means no mask.
        """
        labels = np.zeros(self.size, np.int32)
        for index in self._forest.order.tolist():
            labels[self[index].mask] = index + 1
        return labels

    def draw(self, depth: int | None = None) -> Image.Image:
        """Draw the masks over the image.

        Parameters
        ----------
        depth : int, optional
            Draw only masks with at most this number of masks above them; 0 draws the wholes.
        """
        return display.overlay(self.pixels, self.annotations, depth)

    def show(self, depth: int | None = None) -> None:
        """Show what :meth:`draw` returns: below the cell of a notebook, or in a window."""
        display.show(self.draw(depth))

    def to_coco(self) -> dict[str, Any]:
        """Return the masks as a COCO object, with `images`, `annotations` and `categories`."""
        stream = io.BytesIO()
        self._write(stream)
        found: dict[str, Any] = orjson.loads(stream.getvalue())
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the masks to a COCO file, which every command of ``unsam`` reads.

        Raises
        ------
        OutputError
            The file cannot be written.
        """

        def write(place: Path) -> None:
            with place.open("wb") as stream:
                self._write(stream)

        publish(str(path), write)

    def _write(self, stream: BinaryIO) -> None:
        image = self._info.to_json()
        found = entries_of(self.annotations, self.annotations, ids=True)
        write_masks(stream, "coco", history=self.history, images=[image], groups=[found])

    @cached_property
    def _forest(self) -> Forest:
        return forest(self.annotations)

    @property
    def _above(self) -> NDArray[np.int64]:
        return self._forest.parents

    @cached_property
    def _below(self) -> list[list[int]]:
        below: list[list[int]] = [[] for _ in self.annotations]
        for index, above in enumerate(self._above.tolist()):
            if above >= 0:
                below[above].append(index)
        return below

    def parent_of(self, index: int) -> Mask | None:
        """Return the smallest mask that contains mask `index`."""
        above = int(self._above[index])
        return None if above < 0 else self[above]

    def children_of(self, index: int) -> list[Mask]:
        """Return the masks whose parent is mask `index`, the best first."""
        return [self[i] for i in self._below[index]]

    def depth_of(self, index: int) -> int:
        """Return the number of masks above mask `index`."""
        return int(self._forest.depths[index])

    def __len__(self) -> int:
        return len(self.annotations)

    @overload
    def __getitem__(self, index: int) -> Mask: ...

    @overload
    def __getitem__(self, index: slice) -> list[Mask]: ...

    def __getitem__(self, index: int | slice) -> Mask | list[Mask]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        place = range(len(self))[index]
        return Mask(self, place, self.annotations[place])

    def __iter__(self) -> Iterator[Mask]:
        return map(self.__getitem__, range(len(self)))

    def __repr__(self) -> str:
        n, (height, width) = len(self), self.size
        return f"<Masks: {counted(n, 'mask')} of a {height} x {width} image>"

    def _repr_png_(self) -> bytes:
        return display.png(display.fitted(self.draw()))

    def _repr_html_(self) -> str:
        return display.html(repr(self), self.draw(), len(self.tree))
