"""One HTML file to look at masks with: every picture, every mask, no network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unsam_cli import __version__
from unsam_cli.errors import UnsamError
from unsam_cli.io.images import encode_preview
from unsam_cli.io.masks import Annotation, ImageMasks
from unsam_cli.rle import boxes
from unsam_cli.view.colours import hierarchy_colours
from unsam_cli.view.hierarchy import forest
from unsam_cli.view.overlays import fitted

logger = logging.getLogger(__name__)

LoadImage = Callable[[dict[str, Any]], NDArray[np.uint8]]
OnError = Callable[[dict[str, Any], UnsamError], None]

_OWN_KEYS = frozenset({"width", "height", "image_id", "category_id", "iscrowd"})
_LONGEST_VALUE = 200  # characters of a foreign key's value


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """How a report looks and what it weighs.

    Attributes
    ----------
    title : str
        Shown in the heading; the name of the masks file, for example.
    caption : str
        Small print: where the masks come from.
    longest : int
        Longest side of the embedded pictures and masks in pixels.
    thumbnail : int
        Longest side of the pictures in the list, in pixels.
    """

    title: str = "masks"
    caption: str = ""
    longest: int = 1280
    thumbnail: int = 176


def write_report(
    images: Iterable[ImageMasks],
    load_image: LoadImage,
    out: BinaryIO,
    *,
    settings: ReportSettings | None = None,
    on_error: OnError | None = None,
) -> int:
    """Write a self-contained HTML page that shows masks and their hierarchy.

    One image is in memory at a time. The page opens from a file, without a network, and decodes an
    image and its masks when they are looked at.

    Parameters
    ----------
    images : iterable of ImageMasks
        Images, each with its annotations.
    load_image : callable
        Gives the picture, (H, W, 3) uint8, for an image entry.
    out : binary stream
        Where the page goes.
    settings : ReportSettings, optional
        Title and sizes.
    on_error : callable, optional
        Takes an image entry and the error of its picture; the image then appears without a picture.
        Without it the first error is raised.

    Returns
    -------
    int
        Images written.
    """
    settings = settings or ReportSettings()
    before, after = _page(settings)
    out.write(before)
    count = 0
    for entry in images:
        blocks = _image_blocks(entry, load_image, settings, on_error)
        out.write("".join(_script(f"{part}-{count}", *block) for part, block in blocks).encode())
        count += 1
    out.write(after)
    return count


def _page(settings: ReportSettings) -> tuple[bytes, bytes]:
    """Everything before and after the images, ASCII: what is beyond it is escaped."""
    room = resources.files("unsam_cli.view")
    read = {
        name: room.joinpath(name).read_text(encoding="utf-8")
        for name in ("report.html", "report.css", "masks.js", "report.js")
    }
    css, js = read["report.css"], f"{{{read['masks.js']}\n{read['report.js']}}}"
    # Nothing is fetched, and no script but ours runs, whatever a file name says.
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src {_fingerprint(js)}; style-src {_fingerprint(css)}"
    )
    before, after = read["report.html"].split("$images")
    values = {
        "policy": policy,
        "generator": f"unsam {__version__}",
        "title": html.escape(settings.title),
        "caption": html.escape(settings.caption),
        "css": css,
        "js": js,
    }
    return _ascii(Template(before).substitute(values)), _ascii(Template(after).substitute(values))


def _fingerprint(text: str) -> str:
    """Source expression of a content security policy for an inline element."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "xmlcharrefreplace")
