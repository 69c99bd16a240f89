"""Suffixes of names of pictures, in lower case."""

from __future__ import annotations

from importlib.util import find_spec

HEIF = frozenset({".heic", ".heif"})
"""Photographs of telephones, which need pillow-heif."""
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif"}
    | (HEIF if find_spec("pillow_heif") else frozenset())
)
"""Those by which images are found in folders."""
_RAW = {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"}
_SLIDES = {".svs", ".ndpi", ".mrxs", ".scn", ".czi", ".lif", ".nd2"}
_MORE = {".psd", ".xcf", ".svg", ".eps", ".exr", ".hdr", ".jxl", ".jxr", ".tga"}
OTHER_PICTURES = {
    **dict.fromkeys(HEIF - IMAGE_SUFFIXES, "HEIC (pip install pillow-heif reads them)"),
    **dict.fromkeys(_RAW, "raw photographs, such as DNG (develop them to JPEG or TIFF)"),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), "DICOM (convert them to PNG)"),
    **dict.fromkeys(_SLIDES, "pictures of microscopes (export them as TIFF)"),
    **dict.fromkeys(_MORE, "pictures of other formats (convert them)"),
}
"""Kinds of pictures that are not read, by suffix, with what to do."""
