"""The guide of a large picture, which is read in parts."""

from __future__ import annotations

import numpy as np
import pytest
from large_pictures import Rectangles
from support import draw_scene

from unsam_cli.conquer import guide
from unsam_cli.conquer.guide import Guide, Part
from unsam_cli.io.windows import reduced

BOXES = [(0, 0, 320, 240), (100, 50, 60, 70), (0, 200, 30, 40), (305, 3, 15, 99), (7, 7, 1, 1)]


@pytest.mark.parametrize("box", BOXES)
def test_a_part_that_is_read_is_that_of_the_whole(box: tuple[int, int, int, int]) -> None:
    scene = draw_scene(3, 240, 320)
    picture = Rectangles(scene)
    found, wanted = (Guide.of(one).within(box, (240, 320)) for one in (picture, scene))
    np.testing.assert_array_equal(found.colours, wanted.colours)
    np.testing.assert_array_equal(found.contrast.across, wanted.contrast.across)
    np.testing.assert_array_equal(found.contrast.down, wanted.contrast.down)
    _, _, w, h = picture.boxes[0]
    assert w * h <= (box[2] + 2 * guide._MARGIN) * (box[3] + 2 * guide._MARGIN)


@pytest.mark.parametrize("box", BOXES[:4])
def test_a_large_part_is_read_at_a_bounded_size(
    box: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, _, w, h = box
    monkeypatch.setattr(guide, "MOST", w * h // 8)  # blocks of 3 x 3
    scene = draw_scene(3, 240, 320)
    found = Guide.of(Rectangles(scene)).within(box, (240, 320))
    wanted = Part.of(reduced(scene, box, 3))
    assert found.colours.shape == wanted.colours.shape
    # The last blocks may be whole here.
    np.testing.assert_array_equal(found.colours[:-1, :-1], wanted.colours[:-1, :-1])
    inner = slice(11, -11)
    for a, b in zip(
        (found.contrast.across, found.contrast.down),
        (wanted.contrast.across, wanted.contrast.down),
        strict=True,
    ):
        assert a.shape == b.shape
        np.testing.assert_array_equal(a[inner, inner], b[inner, inner])
    # Beyond the part there is more of the picture, if it does not end there.
    sides = found.contrast.across[:, 0], found.contrast.across[:, -1]
    assert [(side < 0).all() for side in sides] == [x == 0, x + w == 320]
