"""What several test files share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from click.testing import Result

Invoke = Callable[..., Result]
RunProgram = Callable[..., "subprocess.CompletedProcess[bytes]"]


def draw_scene(seed: int = 0, height: int = 96, width: int = 128) -> npt.NDArray[np.uint8]:
    """Draw a red disc and a blue box with a yellow part on green, a little noisy; RGB uint8."""
    rng = np.random.default_rng(seed)
    rgb = np.empty((height, width, 3))
    rgb[:] = (60, 140, 60)
    y, x = np.mgrid[:height, :width]
    cy, cx, r = height * 0.4, width * (0.25 + 0.02 * seed), height * 0.28
    rgb[(y - cy) ** 2 + (x - cx) ** 2 < r**2] = (200, 40, 40)
    top, left = int(height * 0.3), int(width * 0.6)
    rgb[top : int(height * 0.9), left : int(width * 0.9)] = (40, 60, 190)
    rgb[top + 4 : top + height // 4, left + 4 : left + width // 6] = (230, 210, 50)
    rgb += rng.normal(0, 4, rgb.shape)
    return np.clip(rgb, 0, 255).astype(np.uint8)


Turn = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


def _turning(quarters: int, mirrored: bool) -> tuple[Turn, Turn]:
    def there(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.ascontiguousarray(np.rot90(a[:, ::-1] if mirrored else a, quarters))

    def back(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
        turned = np.rot90(a, -quarters)
        return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)

    return there, back


SYMMETRIES: dict[str, tuple[Turn, Turn]] = {
    f"{'mirrored, ' if mirrored else ''}{90 * quarters} degrees": _turning(quarters, mirrored)
    for mirrored in (False, True)
    for quarters in range(4)
    if mirrored or quarters
}
"""Ways to turn and mirror an image (H, W) or (H, W, C), and the ways back."""
