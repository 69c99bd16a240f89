"""How masks look: pictures, and what notebooks show of them."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsam_cli.io.annotations import Annotation
from unsam_cli.rle import Rle, boxes, decode_window
from unsam_cli.view.overlays import draw_overlay

LONGEST = 800
"""Longest side of a picture in a notebook, in pixels."""


def overlay(
    rgb: NDArray[np.uint8], annotations: Sequence[Annotation], depth: int | None
) -> Image.Image:
    """Draw masks over an image (H, W, 3) uint8; see :func:`~unsam_cli.view.draw_overlay`."""
    return Image.fromarray(draw_overlay(rgb, annotations, depth=depth))


def cutout(rgb: NDArray[np.uint8], rle: Rle) -> Image.Image:
    """Return the pixels of a mask on a transparent ground, cropped to its box."""
    if rgb.shape[:2] != tuple(rle["size"]):  # a preview stands for the image
        rgb = np.array(Image.fromarray(rgb).resize(rle["size"][::-1]))
    x, y, w, h = boxes([rle])[0].tolist()
    if not w:
        return Image.new("RGBA", (1, 1))
    alpha = decode_window(rle, x, y, w, h).astype(np.uint8) * 255
    return Image.fromarray(np.dstack([rgb[y : y + h, x : x + w], alpha]))


def fitted(picture: Image.Image) -> Image.Image:
    """Return a picture with sides of at most `LONGEST` pixels."""
    small = picture.copy()
    small.thumbnail((LONGEST, LONGEST))
    return small


def png(picture: Image.Image) -> bytes:
    """Encode a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def html(text: str, picture: Image.Image, wholes: int) -> str:
    """Return a picture with a line of text below it."""
    data = base64.b64encode(png(fitted(picture))).decode()
    line = f"{text.strip('<>')}, {wholes} of them wholes"
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{line}" style="max-width:100%">'
        f"<figcaption>{line}</figcaption></figure>"
    )


def show(picture: Image.Image) -> None:
    """Show a picture below the cell of a notebook, or else in a window of the desktop."""
    if "IPython" in sys.modules:
        from IPython import get_ipython
        from IPython.display import display

        if get_ipython() is not None:
            display(fitted(picture))
            return
    picture.show()
