"""Annotations that are left out because they have no mask or are invalid."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from unsam_cli.io.values import as_whole


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An annotation that is not used, and why.

    Attributes
    ----------
    image_id : int
        Id of its image.
    annotation : int or str
        Its id in the file, or the number of its record if it has none.
    reason : str
        What is wrong with it.
    """

    image_id: int
    annotation: int | str
    reason: str


def number_of(record: Mapping[str, Any], otherwise: int | str) -> int | str:
    """Return the id of an annotation in its file, or the number of its record if it has none."""
    found = record.get("id")
    whole = as_whole(found)
    if whole is not None:
        return whole
    return found if isinstance(found, str) else otherwise


class LeftOuts:
    """The annotations that are left out, by image. Several threads may use it."""

    def __init__(self, known: Iterable[LeftOut] = ()) -> None:
        self._lock = threading.Lock()
        self._bad: dict[int, list[LeftOut]] = {}
        self._known: dict[int, list[LeftOut]] = {}
        for one in known:
            self._known.setdefault(one.image_id, []).append(one)

    @property
    def every(self) -> list[LeftOut]:
        """All of them."""
        with self._lock:
            groups = [*self._known.values(), *self._bad.values()]
        return [one for group in groups for one in group]

    def of(self, image_id: int) -> list[LeftOut]:
        """Return those of an image."""
        with self._lock:
            return [*self._known.get(image_id, ()), *self._bad.get(image_id, ())]

    def invalid(self, image_id: int) -> list[LeftOut]:
        """Return those of an image that were found when its annotations were read."""
        with self._lock:
            return list(self._bad.get(image_id, ()))

    def record(self, image_id: int, bad: list[LeftOut]) -> None:
        """Record what was found when the annotations of an image were read, again or first."""
        with self._lock:
            self._bad[image_id] = bad
