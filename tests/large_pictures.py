"""Pictures that are read by rectangles, though they are small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unsam_cli.io.windows import Box, Windows


class Rectangles(Windows):
    """Reads an array, and remembers the rectangles."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels, self.boxes, self.closed = pixels, list[Box](), False
        self.shape = (pixels.shape[0], pixels.shape[1], 3)

    def read(self, box: Box) -> NDArray[np.uint8]:
        x, y, w, h = box
        assert x >= 0
        assert y >= 0
        assert x + w <= self.shape[1]
        assert y + h <= self.shape[0]
        self.boxes.append(box)
        return self.pixels[y : y + h, x : x + w].copy()

    def close(self) -> None:
        self.closed = True
