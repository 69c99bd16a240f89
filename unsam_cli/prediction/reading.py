"""Inputs of the network for a large picture, which are read just before they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import UnsamError
from unsam_cli.io.windows import Windows
from unsam_cli.prediction.predict import Input, Place
from unsam_cli.prediction.views import View, see
from unsam_cli.run.parallel import attempt

T = TypeVar("T")
Read = NDArray[np.uint8] | UnsamError


class _Reader:
    """Reads the views of a picture in threads, at most `ahead` before the one that is needed."""

    def __init__(self, picture: Windows, views: Sequence[View], pool: Executor, ahead: int) -> None:
        self._picture, self._views, self._pool, self._ahead = picture, views, pool, ahead
        self._reading: dict[int, Future[Read]] = {}
        self._begun = self._taken = 0

    def take(self, index: int) -> Read:
        """Return the pixels of a view, which is taken once, or why they cannot be read."""
        for begun in range(self._begun, min(index + 1 + self._ahead, len(self._views))):
            view = partial(see, self._picture, self._views[begun])
            self._reading[begun] = self._pool.submit(attempt, view)
            self._begun = begun + 1
        pixels = self._reading.pop(index).result()
        self._taken += 1
        if self._taken == len(self._views):
            self._picture.close()
        return pixels


@dataclass(frozen=True)
class Unread(Place):
    """An input that is not read yet: a view of a picture, by its index."""

    index: int
    reader: _Reader

    def read(self) -> Input | UnsamError:
        """Return the input, or why it cannot be read; to be called once."""
        pixels = self.reader.take(self.index)
        return pixels if isinstance(pixels, UnsamError) else Input(self.view, self.size, pixels)


def unread(
    picture: Windows, places: Sequence[Place], pool: Executor, ahead: int
) -> Sequence[Unread]:
    """Return the inputs of a picture; reading one begins to read the next ones, `ahead` of them.

    One thread may read them, which is none of the `pool`.
    """
    reader = _Reader(picture, [one.view for one in places], pool, ahead)
    return [Unread(one.view, one.size, i, reader) for i, one in enumerate(places)]


def failed(error: UnsamError) -> Future[T]:
    """Return what raises an error when its result is wanted."""
    future: Future[T] = Future()
    future.set_exception(error)
    return future
