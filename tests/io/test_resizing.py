"""Pictures at another size: in strips as Pillow does as a whole, in far less memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from unsam_cli.io import resizing
from unsam_cli.io.resizing import resize


@pytest.mark.parametrize("size", [(20, 31), (3, 200), (67, 4), (300, 410), (1, 1)])
@pytest.mark.parametrize("strip", [1, 5000, 2**22])
def test_strips_are_no_other_picture(
    size: tuple[int, int], strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resizing, "_STRIP", strip)
    rgb = np.random.default_rng(0).integers(0, 256, (391, 407, 3), dtype=np.uint8)
    found = resizing._bicubic(rgb, size)
    how = Image.Resampling.BICUBIC
    wanted = Image.fromarray(rgb).resize(size[::-1], how, reducing_gap=3.0)
    np.testing.assert_array_equal(found, np.asarray(wanted))


def test_a_large_picture_is_not_copied() -> None:
    rgb = np.zeros((6000, 6000, 3), dtype=np.uint8)
    tracemalloc.start()
    resize(rgb, (640, 640))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rgb.nbytes / 2
