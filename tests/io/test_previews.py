"""Previews: their size, their colours, and that they turn with the picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from support import SYMMETRIES, draw_scene

from unsam_cli.errors import ImageFileError
from unsam_cli.io.previews import PREVIEW, decode_preview, encode_preview, encode_small
from unsam_cli.io.resizing import resize


def test_previews_keep_colours_and_proportions() -> None:
    wide = np.zeros((300, 1300, 3), dtype=np.uint8)
    wide[:, 650:] = [255, 0, 0]
    preview = decode_preview(encode_preview(wide))
    assert preview.shape == (148, 640, 3)
    # Without chroma subsampling the border stays within a few pixels.
    assert np.abs(preview[:, 330:].astype(int) - [255, 0, 0]).max() < 12
    small = np.full((7, 9, 3), 200, dtype=np.uint8)
    assert decode_preview(encode_preview(small)).shape == (7, 9, 3)
    with pytest.raises(ImageFileError, match="preview: "):
        decode_preview(b"nothing")


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1)])
def test_lines_of_pixels(size: tuple[int, int]) -> None:
    line = np.full((*size, 3), 90, dtype=np.uint8)
    assert decode_preview(encode_preview(line)).shape == (min(size[0], 640), min(size[1], 640), 3)
    with Image.open(io.BytesIO(encode_small(line, longest=100))) as small:
        assert small.size == (min(size[1], 100), min(size[0], 100))


def test_a_preview_that_is_too_large_is_not_decoded() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (PREVIEW + 1, PREVIEW)).save(buffer, "JPEG")
    with pytest.raises(ImageFileError, match="641x640 pixels exceed the limit"):
        decode_preview(buffer.getvalue())


@pytest.mark.parametrize("shape", [(61, 90), (90, 61), (75, 75)])
@pytest.mark.parametrize("turn", SYMMETRIES)
def test_a_turned_picture_has_the_turned_preview(shape: tuple[int, int], turn: str) -> None:
    """To the pixel, though the blocks of a JPEG begin in one corner; resizing as well."""
    rgb = draw_scene(3, *shape)
    there, back = SYMMETRIES[turn]
    preview = decode_preview(encode_preview(rgb))
    assert np.abs(preview.astype(int) - rgb).mean() < 8
    np.testing.assert_array_equal(back(decode_preview(encode_preview(there(rgb)))), preview)
    for size in [(40, 58), (58, 40), (50, 50)]:
        turned = there(np.empty(size)).shape
        again = back(resize(there(rgb), (turned[0], turned[1])))
        np.testing.assert_array_equal(again, resize(rgb, size))
