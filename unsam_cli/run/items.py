"""Images as the items of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ImageItem:
    """An image to work on: its id, its name as stored in outputs, and where it is.

    There may be millions of them, and a Path takes several times the memory of its text.
    """

    id: int
    file_name: str
    place: str

    @property
    def path(self) -> Path:
        """Path of the image."""
        return Path(self.place)


class Item(Protocol):
    """An image as an item of the loop."""

    @property
    def id(self) -> int:
        """Id in the outputs."""
        ...

    @property
    def file_name(self) -> str:
        """Name in the outputs."""
        ...


class OnDisk(Protocol):
    """What has a file."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...
