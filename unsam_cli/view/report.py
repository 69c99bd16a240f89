"""One HTML file to look at masks with: every picture, every mask, no network."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import BinaryIO

from unsam_cli import __version__
from unsam_cli.io.masks import ImageMasks
from unsam_cli.view.blocks import LoadImage, OnError, image_blocks


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
        Gives the picture, (H, W, 3) uint8, for an image entry; it may be smaller than the masks.
    out : binary stream
        Where the page goes.
    settings : ReportSettings, optional
        Title and sizes.
    on_error : callable, optional
        Takes an image entry and what is wrong with its picture; the image then appears without a
        picture. By default the first error is raised.

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
        blocks = image_blocks(
            entry, load_image, settings.longest, settings.thumbnail, on_error=on_error
        )
        for part, text in blocks.items():
            out.write(_script(part, count, text))
        count += 1
    out.write(after)
    return count


def _page(settings: ReportSettings) -> tuple[bytes, bytes]:
    """Everything before and after the images, in ASCII; what is beyond it is escaped."""
    room = resources.files("unsam_cli.view")
    page, css, masks, report = (
        room.joinpath(name).read_text(encoding="utf-8")
        for name in ("report.html", "report.css", "masks.js", "report.js")
    )
    js = masks + report
    # Nothing is fetched, and no script but ours runs, whatever a file name says.
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src {_fingerprint(js)}; style-src {_fingerprint(css)}"
    )
    values = {
        "policy": policy,
        "generator": f"unsam {__version__}",
        "title": _escaped(settings.title),
        "caption": _escaped(settings.caption),
        "css": css,
        "js": js,
    }
    before, _, after = page.partition("$images\n")
    return _filled(before, values), _filled(after, values)


def _filled(page: str, values: dict[str, str]) -> bytes:
    return Template(page).substitute(values).encode("ascii", "xmlcharrefreplace")


def _escaped(text: str) -> str:
    """Text for HTML; control characters and halves of surrogate pairs become U+FFFD."""
    return html.escape("".join(c if c.isprintable() else "\ufffd" for c in text))


def _fingerprint(text: str) -> str:
    """Source expression of a content security policy that admits one inline element."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _script(part: str, index: int, text: str) -> bytes:
    """Wrap data for the page's script; the browser itself never interprets it."""
    head = f'<script type="text/plain" data-part="{part}" id="{part}-{index}">'
    return f"{head}{text}</script>\n".encode()
