"""One HTML file that shows every picture and every mask, without a network connection."""

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
from unsam_cli.view.blocks import LoadImage, OnError, as_json, image_blocks
from unsam_cli.view.sets import Photograph

SCRIPTS = (
    *("masks.js", "page.js", "cut.js", "panes.js"),
    *("export.js", "details.js", "list.js", "report.js"),
)
"""The script of the page, in the order in which its parts run."""


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """Texts of a report, and sizes of its pictures.

    Attributes
    ----------
    title : str
        Heading, for example the name of the masks file.
    caption : str
        Small text about the origin of the masks.
    names : tuple of str
        Names of the sets of masks, as many as every image has.
    longest : int
        Longest side of the embedded pictures and masks, in pixels.
    thumbnail : int
        Longest side of the pictures in the list, in pixels.
    """

    title: str = "masks"
    caption: str = ""
    names: tuple[str, ...] = ("masks",)
    longest: int = 1280
    thumbnail: int = 176


def write_report(
    images: Iterable[Photograph],
    load_image: LoadImage,
    out: BinaryIO,
    *,
    settings: ReportSettings | None = None,
    on_error: OnError | None = None,
) -> int:
    """Write a self-contained HTML page that shows masks and their hierarchy.

    Several sets of masks of one image are shown side by side. Only one image is in memory at a
    time. The page opens from a file, without a network connection, and decodes an image and its
    masks when they are shown.

    Parameters
    ----------
    images : iterable of Photograph
        Images, each with its masks in every set.
    load_image : callable
        Returns the picture of an image entry, (H, W, 3) uint8; it may be smaller than the masks.
    out : binary stream
        The stream that the page is written to.
    settings : ReportSettings, optional
        Texts and sizes.
    on_error : callable, optional
        Called with an image entry and the error of its picture; the image is then shown without a
        picture. By default the first error is raised.

    Returns
    -------
    int
        Number of images written.
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
    """Return the parts of the page before and after the images, in ASCII with escapes."""
    room = resources.files("unsam_cli.view")
    page, css, *scripts = (
        room.joinpath(name).read_text(encoding="utf-8")
        for name in ("report.html", "report.css", *SCRIPTS)
    )
    js = "".join(scripts)
    # The page loads nothing and runs only its own script, whatever a file name contains.
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src {_fingerprint(js)}; style-src {_fingerprint(css)}"
    )
    values = {
        "policy": policy,
        "generator": f"unsam {__version__}",
        "title": _escaped(settings.title),
        "caption": _escaped(settings.caption),
        "names": as_json(settings.names),
        "css": css,
        "js": js,
    }
    before, _, after = page.partition("$images\n")
    return _filled(before, values), _filled(after, values)


def _filled(page: str, values: dict[str, str]) -> bytes:
    return Template(page).substitute(values).encode("ascii", "xmlcharrefreplace")


def _escaped(text: str) -> str:
    """Escape a text for HTML; control characters and lone surrogates become U+FFFD."""
    return html.escape("".join(c if c.isprintable() else "\ufffd" for c in text))


def _fingerprint(text: str) -> str:
    """Return the source expression of a content security policy that allows an inline element."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _script(part: str, index: int, text: str) -> bytes:
    """Wrap data for the page's script; the browser itself never interprets it."""
    head = f'<script type="text/plain" data-part="{part}" id="{part}-{index}">'
    return f"{head}{text}</script>\n".encode()
