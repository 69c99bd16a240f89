"""How pictures are read, for the whole of a command; imports nothing heavy."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from unsam_cli.errors import UsageError
from unsam_cli.settings import Settings, setting

logger = logging.getLogger(__name__)

reading = partial(setting, group="Input", results="changed")


@dataclass(frozen=True)
class PixelSettings(Settings):
    """Which pixels of a picture are read, and how they become 8-bit RGB."""

    exif: str = reading(
        "apply",
        "apply: turn photographs upright, by their EXIF orientation. ignore: do not turn them, for "
        "masks that were drawn on the unturned pixels.",
        choices=("apply", "ignore"),
    )
    page: int | None = reading(
        None,
        "Page of TIFF files, counted from 1.  [default: the first of the largest size]",
        least=1,
        metavar="N",
    )
    bands: tuple[int, ...] | None = reading(
        None,
        "Bands of TIFF files, counted from 1, that become red, green and blue; a single band "
        "becomes grey.  [default: the first three]",
        least=1,
        metavar="R,G,B",
    )
    range: tuple[float, float] | None = reading(
        None,
        "For pictures of more than 8 bits: the values that become black and white, the same in "
        "all pictures.  [default: what each picture holds]",
        metavar="LO,HI",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bands is not None and len(self.bands) not in (1, 3):
            raise UsageError(f"bands are one or three numbers, not {len(self.bands)}")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise UsageError(f"range must be two values, the smaller first, not {self.range}")


class _State:
    """What a command reads pictures with, and what it has said of them."""

    settings = PixelSettings()
    told: ClassVar[set[str]] = set()


@contextmanager
def reading_with(settings: PixelSettings) -> Iterator[None]:
    """Read all pictures with `settings`, in all threads."""
    before = _State.settings, _State.told
    _State.settings, _State.told = settings, set()
    try:
        yield
    finally:
        _State.settings, _State.told = before


def pixel_settings() -> PixelSettings:
    """Return how pictures are read now."""
    return _State.settings


def tell_once(kind: str, text: str, *values: Any) -> None:
    """Log a warning about a picture, if it is the first of its kind."""
    if kind not in _State.told:
        _State.told.add(kind)
        logger.warning(text + " (said once; others may be alike)", *values)
