"""Which formats of images are read, and what opens them."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
"""Formats that are read. Others that Pillow opens (EPS, WMF...) would run external programs."""


def opener_of(prefix: bytes) -> Any:
    """Return what Pillow opens a file with these first 16 bytes with, or None.

    Pillow knows the usual formats at once, and imports dozens of modules for the others.
    """
    for learn in (Image.preinit, Image.init, _learn_heif):
        learn()
        openers = [Image.OPEN[kind] for kind in FORMATS if kind in Image.OPEN]
        for opener, accepts in openers:
            if accepts and accepts(prefix) is True:
                return opener
    return None


def _learn_heif() -> None:
    if find_spec("pillow_heif") and "HEIF" not in Image.OPEN:
        importlib.import_module("pillow_heif").register_heif_opener()
