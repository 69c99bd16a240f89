"""Images as the items of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from unsam_cli.io.geo import Georeference
    from unsam_cli.io.pictures import Picture


@dataclass(frozen=True, slots=True)
class ImageItem:
    """An image to process: its id, its name as stored in outputs, and its path as text.

    There may be millions of items, and a Path takes several times the memory of its text. An item
    with a `fault` cannot be processed: it is skipped, or ends the run.
    """

    id: int
    file_name: str
    place: str
    fault: str = ""

    @property
    def path(self) -> Path:
        """Path of the image."""
        return Path(self.place)

    @property
    def georeference(self) -> Georeference | None:
        """Where the image lies on a map, as the tags of its file say."""
        from unsam_cli.io.geo import georeference

        return georeference(self.path)


class Item(Protocol):
    """An image as an item of a run."""

    @property
    def id(self) -> int:
        """Id of the image in outputs."""
        ...

    @property
    def file_name(self) -> str:
        """Name of the image in outputs."""
        ...


def fault_of(item: Item) -> str:
    """Return why an item cannot be processed; empty if it can."""
    return str(getattr(item, "fault", ""))


def georeference_of(item: Item) -> Georeference | None:
    """Return where the image of an item lies on a map; None if that is not known."""
    found: Georeference | None = getattr(item, "georeference", None)
    return found


class OnDisk(Protocol):
    """An object that has an image, usually a file."""

    @property
    def path(self) -> Picture:
        """Path of the file; in the Python API, the pixels can stand in its place."""
        ...
