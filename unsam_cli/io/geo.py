"""Where the pixels of a GeoTIFF lie on a map."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsam_cli.io.settings import pixel_settings

_SCALE, _TIEPOINT, _MATRIX, _KEYS = 33550, 33922, 34264, 34735  # tags
_KIND, _WIDTH, _HEIGHT, _ORIENTATION = 254, 256, 257, 274  # tags
_RASTER_TYPE, _GEOGRAPHIC, _PROJECTED = 1025, 2048, 3072  # keys
_POINT = 2  # value of the raster type: coordinates belong to centres of pixels, not to corners
_EXAMINED = 256  # pages
_LEAST, _MOST = 1024, 32766  # codes of EPSG; 32767 is a system that users define


@dataclass(frozen=True)
class Georeference:
    """An affine map from pixels to coordinates.

    Attributes
    ----------
    transform : tuple of 6 float
        a, b, c, d, e, f: the corner at column x and row y lies at (a x + b y + c, d x + e y + f).
        This is the order of `affine` and rasterio.
    epsg : int or None
        Code of the coordinate system; None if the file does not name one.
    """

    transform: tuple[float, float, float, float, float, float]
    epsg: int | None = None

    def places(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Return the coordinates of corners of pixels x, y; both are (n, 2)."""
        a, b, c, d, e, f = self.transform
        found: NDArray[np.float64] = points @ np.array([[a, d], [b, e]]) + np.array([c, f])
        return found

    def turned(self, turn: int, width: int, height: int) -> Georeference:
        """Return that of the upright image.

        Parameters
        ----------
        turn : int
            EXIF orientation of the stored pixels, 1 to 8.
        width, height : int
            Sides of the stored image, in pixels.
        """
        a, b, c, d, e, f = self.transform
        if turn in (2, 3, 7, 8):  # stored columns run from right to left
            a, c, d, f = -a, c + a * width, -d, f + d * width
        if turn in (3, 4, 6, 7):  # stored rows run upwards
            b, c, e, f = -b, c + b * height, -e, f + e * height
        if turn >= 5:
            a, b, d, e = b, a, e, d
        return Georeference((a, b, c, d, e, f), self.epsg)

    @classmethod
    def from_json(cls, stored: Any) -> Georeference | None:
        """Return what :func:`placed` stored; None if it is missing or makes no sense."""
        try:
            a, b, c, d, e, f = map(float, stored["transform"])
            code = re.fullmatch(r"EPSG:(\d{4,5})", str(stored.get("crs")))
        except (TypeError, ValueError, KeyError, AttributeError):
            return None
        finite = bool(np.isfinite([a, b, c, d, e, f]).all())
        return cls((a, b, c, d, e, f), int(code[1]) if code else None) if finite else None


def placed(place: Georeference | None) -> dict[str, Any]:
    """Return what the entry of an image has in addition if it is known where it lies on a map."""
    if place is None:
        return {}
    named = {} if place.epsg is None else {"crs": f"EPSG:{place.epsg}"}
    return {"georeference": {"transform": list(place.transform), **named}}


def georeference(path: Path) -> Georeference | None:
    """Read where the pixels of a TIFF lie, from its tags; None if it does not say.

    If pictures are read upright, this is said of the upright pixels.

    Raises
    ------
    OSError
        The file cannot be read.

    References
    ----------
    OGC GeoTIFF standard 1.1, OGC 19-008r4, section 7.1: `ModelPixelScale` with `ModelTiepoint`, or
    `ModelTransformation`.
    """
    try:
        tags = _tags(path)
        transform = _transform(tags)
        keys = _geo_keys(tags.get(_KEYS, ()))
        width, height, turn = int(tags[_WIDTH]), int(tags[_HEIGHT]), int(tags.get(_ORIENTATION, 1))
    except Exception:  # no TIFF, or damaged tags, which do not affect the pixels
        return None
    if transform is None or not np.isfinite(transform).all():
        return None
    if keys.get(_RASTER_TYPE) == _POINT:  # the centre of the first pixel is at its tiepoint
        a, b, c, d, e, f = transform
        transform = (a, b, c - (a + b) / 2, d, e, f - (d + e) / 2)
    code = keys.get(_PROJECTED, keys.get(_GEOGRAPHIC))
    found = Georeference(transform, code if code and _LEAST <= code <= _MOST else None)
    return found if pixel_settings().exif == "ignore" else found.turned(turn, width, height)


def _tags(path: Path) -> Any:
    """Read the tags of the page whose pixels are read, see :func:`~unsam_cli.io.tiff.page_of`."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    wanted, pages = pixel_settings().page, list[Any]()
    with path.open("rb") as stream:
        head = stream.read(8)
        head += stream.read(8) if head[2:3] == b"+" else b""
        place = ImageFileDirectory_v2(head).next
        while place and len(pages) < (wanted or _EXAMINED):
            pages.append(ImageFileDirectory_v2(head))
            stream.seek(place)
            pages[-1].load(stream)
            place = pages[-1].next
    if wanted is not None:
        return pages[wanted - 1]
    return max(pages, key=lambda t: 0 if t.get(_KIND, 0) & 5 else t[_WIDTH] * t[_HEIGHT])


def _transform(tags: Any) -> tuple[float, float, float, float, float, float] | None:
    matrix = tags.get(_MATRIX)
    if matrix is not None:
        a, b, _, c, d, e, _, f, *_ = map(float, matrix)
        return a, b, c, d, e, f
    scale, tie = tags.get(_SCALE), tags.get(_TIEPOINT)
    if scale is None or tie is None or len(tie) < 6:
        return None
    across, down = float(scale[0]), float(scale[1])
    column, row, _, x, y, *_ = map(float, tie)
    return across, 0.0, x - column * across, 0.0, -down, y + row * down


def _geo_keys(directory: Any) -> dict[int, int]:
    """Return the keys whose values are numbers, which are in the directory itself."""
    entries = np.array(directory, dtype=np.int64)[4:]
    rows = entries[: len(entries) // 4 * 4].reshape(-1, 4).tolist()
    return {key: value for key, tag, _, value in rows if tag == 0}
