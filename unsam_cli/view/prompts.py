"""The prompt of a mask: the clicks and the box given to `unsam predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from unsam_cli.io.masks import Annotation

_PIXELS_PER_RADIUS = 150
_LEAST_RADIUS = 3
_FAR = 2**31  # limit of coordinates in pixels, which also excludes infinity
_INSIDE, _OUTSIDE, _BOX, _EDGE = (61, 220, 132), (255, 90, 95), (255, 216, 77), (255, 255, 255)


@dataclass(frozen=True)
class Asked:
    """A prompt in pixels of the picture that is shown.

    Attributes
    ----------
    points : list of (x, y, label)
        Clicks in pixels. Label 1 is inside of the object that was meant.
    box : list of float
        x0, y0, x1, y1 in pixels; empty without a box.
    granularity : float, optional
        How fine the mask should be, if the prompt says so.
    """

    points: list[tuple[float, float, int]]
    box: list[float]
    granularity: float | None = None


def asked(annotation: Annotation, size: tuple[int, int]) -> Asked | None:
    """Return the prompt of a mask for a picture of `size` (H, W); None if it has no prompt."""
    prompt = annotation.extra.get("prompt")
    if not isinstance(prompt, dict):
        return None
    scale = [size[1] / annotation.rle["size"][1], size[0] / annotation.rle["size"][0]]
    points, labels = prompt.get("points"), prompt.get("labels")
    clicks: list[tuple[float, float, int]] = []
    if isinstance(points, list) and isinstance(labels, list):
        for point, label in zip(points, labels, strict=False):
            # A click is on a pixel, whose centre is half a pixel from its corner.
            at = [round((v + 0.5) * s, 2) for v, s in zip(_numbers(point, 2), scale, strict=False)]
            if at:
                clicks.append((at[0], at[1], int(label == 1)))
    box = _numbers(prompt.get("box"), 4)
    corners = [round(v * s, 2) for v, s in zip(box, scale * 2, strict=False)]
    granularity = next(iter(_numbers([prompt.get("granularity")], 1)), None)
    return Asked(clicks, corners, granularity) if clicks or corners else None


def draw_prompts(rgb: NDArray[np.uint8], annotations: Sequence[Annotation]) -> None:
    """Draw the prompts of masks, dots and boxes, into a picture (H, W, 3) uint8, in place."""
    height, width = rgb.shape[:2]
    told = [asked(a, (height, width)) for a in annotations if "prompt_id" in a.extra]
    prompts = [prompt for prompt in told if prompt is not None]
    if not prompts:
        return
    radius = max(_LEAST_RADIUS, max(height, width) // _PIXELS_PER_RADIUS)
    image = Image.fromarray(rgb)
    draw = ImageDraw.Draw(image)
    for prompt in prompts:
        if prompt.box and prompt.box[0] <= prompt.box[2] and prompt.box[1] <= prompt.box[3]:
            draw.rectangle(prompt.box, outline=_BOX, width=max(1, radius // 2))
    for prompt in prompts:
        for x, y, label in prompt.points:
            draw.circle((x, y), radius, fill=_INSIDE if label else _OUTSIDE, outline=_EDGE)
    rgb[...] = np.asarray(image)


def _numbers(values: Any, count: int) -> list[float]:
    """Return `count` numbers, or none if the file holds something else."""
    right = isinstance(values, list) and len(values) == count
    if not right or not all(type(v) in (int, float) and abs(v) < _FAR for v in values):
        return []
    return list(map(float, values))
