"""Recognise a file by its first bytes, for messages about a wrong file.

No reader uses this to decide whether it can read a file. It only lets the message say what the
file is, and which command makes the right one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

HEAD = 4096
"""Number of bytes that are examined."""


@dataclass(frozen=True)
class Kind:
    """The kind of a file: its family, and its name in messages."""

    family: str
    words: str


_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", "hdf5", "an HDF5 file"),
    (0, b"\xff\xd8\xff", "picture", "a JPEG picture"),
    (0, b"\x89PNG\r\n\x1a\n", "picture", "a PNG picture"),
    (1, b"PNG\r\n", "picture", "a damaged PNG picture"),
    (1, b"PNG\n", "picture", "a damaged PNG picture"),  # transferred as if it were text
    (3, b"PNG\r\n", "picture", "a damaged PNG picture"),
    (0, b"GIF8", "picture", "a GIF picture"),
    (8, b"WEBP", "picture", "a WEBP picture"),
    (0, b"II*\0", "picture", "a TIFF picture"),
    (0, b"II+\0", "picture", "a TIFF picture"),
    (0, b"MM\0*", "picture", "a TIFF picture"),
    (0, b"MM\0+", "picture", "a TIFF picture"),
    (0, b"\0\0\0\x0cjP  ", "picture", "a JPEG 2000 picture"),
    (4, b"ftypavif", "picture", "an AVIF picture"),
    (4, b"ftyphei", "heic", "a HEIC picture"),
    (4, b"ftypmif1", "heic", "a HEIC picture"),
    (4, b"ftyp", "other", "a video"),
    (0, b"8BPS", "other", "a Photoshop picture"),
    (0, b"%PDF", "other", "a PDF document"),
    (0, b"%!PS", "other", "a PostScript document"),
    (0, b"\x93NUMPY", "other", "a NumPy array"),
    (0, b"MATLAB 5.0", "other", "a MATLAB file"),
    (0, b"SQLite format", "other", "an SQLite database"),
    (0, b"\x7fELF", "other", "a program"),
    (0, b"\x1f\x8b", "packed", "a gzip file"),
    (0, b"BZh", "packed", "a bzip2 file"),
    (0, b"\xfd7zXZ", "packed", "an xz file"),
    (0, b"\x28\xb5\x2f\xfd", "packed", "a zstd file"),
    (0, b"7z\xbc\xaf", "packed", "a 7z archive"),
    (0, b"Rar!", "packed", "a RAR archive"),
    (257, b"ustar", "packed", "a tar archive"),
    (0, b"version https://git-lfs", "other", "a Git LFS pointer, not the file itself"),
)
_NEEDED = {
    "features": ("hdf5", "features (HDF5) are needed: unsam extract-features makes them of images"),
    "masks": ("json text binary", "masks (JSON) are needed"),
    "image": ("picture", "an image is needed"),
    "checkpoint": (
        "weights zip binary",
        "a checkpoint of a network is needed: unsam train makes one",
    ),
    "prompts": ("json text binary empty", "prompts are needed, one JSON object per line"),
    "shard": ("hdf5 json", "shards of features (HDF5) or masks (JSON) are needed"),
    "table": ("text table", "a training shard (TSV) is needed"),
    "list": ("text table binary empty", "a list of paths is needed, one per line"),
    "config": ("text table json empty", "a TOML file is needed"),
}
_HINTS = {
    ("masks", "hdf5"): ": unsam divide and unsam conquer make them of features",
    ("masks", "picture"): ": unsam extract-features, divide and conquer make them of images",
    ("masks", "weights"): ": unsam predict makes them with a checkpoint",
    ("image", "json"): "; give a COCO file of images as --coco FILE",
    ("image", "heic"): ": HEIC needs a package: pip install pillow-heif",
    ("image", "text"): "; give a list of images as @FILE",
}


def kind_of(head: bytes) -> Kind:
    """Recognise the kind of a file by its first bytes.

    Parameters
    ----------
    head : bytes
        The first `HEAD` bytes, or all bytes of a shorter file.
    """
    if not head:
        return Kind("empty", "empty")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Kind("other", "text in UTF-16, not in UTF-8")
    for at, signature, family, words in _SIGNATURES:
        if head.startswith(signature, at):
            return Kind(family, words)
    if head.startswith(b"PK\x03\x04"):
        inside = b".pkl" in head[:200] or b"/version" in head[:200] or b"byteorder" in head[:200]
        return Kind("weights", "a PyTorch checkpoint") if inside else Kind("zip", "a zip file")
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return Kind("weights", "a pickled file")
    if head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") < 2**32:
        return Kind("weights", "a safetensors file")
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return Kind("picture", "a BMP picture")
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return Kind("picture", "a PNM picture")
    return _text(head)


def _text(head: bytes) -> Kind:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        return Kind("empty", "blank" if b"\0" not in head else "full of zeros")
    # Names of files, and headings of TOML, may begin with a bracket, too.
    if re.match(rb"[{\[]\s*([{\[\"}\]]|$)", start) and b"\0" not in head:
        return Kind("json", "a JSON file")
    lower = start[:200].lower()
    if lower.startswith((b"<!doctype html", b"<html")):
        return Kind("other", "an HTML page")
    if lower.startswith((b"<?xml", b"<svg")):
        return Kind("other", "an XML file")
    if not head.strip(b"\0"):
        return Kind("empty", "full of zeros")
    if b"\0" in head or sum(byte < 9 or 13 < byte < 32 for byte in head) > len(head) // 50:
        return Kind("binary", "a file of an unknown kind")
    line = start.splitlines()[0]
    if not line[:1].isascii() and not _is_utf8(line):
        return Kind("binary", "a file of an unknown kind")
    return Kind("table", "a table (CSV)") if line.count(b",") > 1 else Kind("text", "a text")


def _is_utf8(line: bytes) -> bool:
    try:
        line[: HEAD // 2].decode()
    except UnicodeDecodeError as e:
        return e.end >= HEAD // 2  # cut within a character
    return True


def mistaken(head: bytes, wanted: str) -> str | None:
    """Describe a file of a wrong kind, and how to make the right one; None if it may be right.

    Parameters
    ----------
    head : bytes
        The first `HEAD` bytes of the file.
    wanted : str
        Kind that is needed: features, masks, image, checkpoint, prompts, shard, table, list or
        config.

    Returns
    -------
    str or None
        Text that follows the name in the message; None if the file may just be damaged.
    """
    kind = kind_of(head)
    families, needed = _NEEDED[wanted]
    if kind.family in families.split():
        return None
    return f"is {kind.words}; {needed}{_HINTS.get((wanted, kind.family), '')}"


def mistaken_file(path: Path | str, wanted: str) -> str | None:
    """Return the same text for a path; None if the file cannot be read or is not a file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return mistaken(os.pread(handle, HEAD, 0), wanted)
        finally:
            os.close(handle)
    except (OSError, ValueError):
        return None
